"""Comments over HTTP: written under a grant, paged, refused, deleted, on record, and gone with the document."""

from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import await_entries, connect, refusal, share, upload
from tests.e2e.conftest import Service

TENANT = "margin"


@pytest.fixture
def ann(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "ann@margin.example")) as client:
        yield client


@pytest.fixture
def bob(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "bob@margin.example")) as client:
        yield client


def write(client: httpx.Client, document: str, **body: Any) -> httpx.Response:  # noqa: ANN401 - a body
    return client.post(f"/v1/documents/{document}/comments", json=body)


def test_comments_are_written_paged_deleted_and_on_record(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    document = upload(ann)
    path = f"/v1/documents/{document}/comments"
    hidden = write(bob, document, text="a")
    absent = write(bob, "file-" + "0" * 32, text="a")
    assert refusal(hidden) == refusal(absent) == (404, "not_found")
    grant = share(ann, document, "bob@margin.example", "comment", max_uses=1)
    made: list[dict[str, Any]] = []
    for client, text in ((ann, "Is it so?"), (bob, "It is."), (bob, "It was.")):
        answer = write(client, document, text=text)
        assert answer.status_code == 201, answer.text
        made.append(answer.json())
        assert answer.headers["Location"] == f"{path}/{made[-1]['id']}"
    assert [comment["version"] for comment in made] == [1, 1, 1]
    first = bob.get(path, params={"limit": 2}).json()
    assert (first["data"], first["has_more"]) == (made[:2], True)
    rest = bob.get(path, params={"limit": 2, "after": first["last_id"]}).json()
    assert (rest["data"], rest["has_more"]) == (made[2:], False)
    assert refusal(bob.get(f"/v1/documents/{document}/content")) == (403, "not_granted")
    assert refusal(bob.delete(f"{path}/{made[0]['id']}")) == (403, "not_author")
    assert bob.delete(f"{path}/{made[2]['id']}").status_code == 204
    assert refusal(bob.delete(f"{path}/{made[2]['id']}")) == (404, "not_found")
    assert ann.delete(f"/v1/grants/{grant}").status_code == 204
    for answer in (write(bob, document, text="a"), bob.get(path)):
        assert refusal(answer) == (404, "not_found")
    assert refusal(bob.delete(f"{path}/{made[1]['id']}")) == (404, "not_found")
    assert ann.delete(f"{path}/{made[1]['id']}").status_code == 204
    assert ann.get(path).json()["data"] == made[:1]
    expected = {
        ("comment.create", "denied", None),
        ("comment.create", "allowed", None),
        ("comment.create", "allowed", grant),
        ("comment.read", "allowed", grant),
        ("comment.delete", "denied", None),
        ("comment.delete", "allowed", grant),
        ("comment.delete", "allowed", None),
    }
    await_entries(
        ann,
        lambda entries: (
            expected <= {(entry["action"], entry["outcome"], entry["grant"]) for entry in entries}
        ),
        resource=document,
    )
    assert ann.post(f"/v1/documents/{document}/erase", headers={"If-Match": "*"}).is_success
    assert refusal(ann.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "a" * 4001},
        {"text": 1},
        {"text": "a\0"},
        {"text": "a", "version": 0},
        {"text": "a", "version": 1 << 31},
        {"text": "a", "author": "me"},
    ],
    ids=["no text", "empty", "long", "number", "nul", "version 0", "version", "unknown"],
)
def test_what_is_no_comment_is_refused(ann: httpx.Client, body: dict[str, Any]) -> None:
    document = upload(ann)
    assert write(ann, document, **body).status_code == 400
    assert refusal(write(ann, document, text="a", version=2)) == (404, "not_found")
    path = f"/v1/documents/{document}/comments"
    assert ann.get(path, params={"after": "comment_x"}).status_code == 404
    assert ann.delete(f"{path}/comment_x").status_code == 404
