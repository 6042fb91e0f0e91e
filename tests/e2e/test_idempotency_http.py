"""``Idempotency-Key`` over HTTP: one effect and one answer, whoever is faster, whatever became of the first answer."""

import json
import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import connect, refusal, share, upload
from tests.e2e.conftest import Service
from tests.e2e.test_consents import NOTICE
from tests.http.test_request_digest import form

TENANT = "once"
REPLAYED = "Idempotency-Replayed"


@pytest.fixture
def ann(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "ann@once.example", "admin")) as client:
        yield client


@pytest.fixture
def bob(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "bob@once.example", "admin")) as client:
        yield client


def keyed() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def make_schema(client: httpx.Client) -> str:
    made = client.post(
        "/v1/schemas",
        json={"name": str(uuid.uuid4()), "schema": {"type": "object"}},
    )
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
    assert (again.status_code, again.content) == (first.status_code, first.content), again.text
    for name in ("Location", "ETag", "Content-Type"):
        assert again.headers.get(name) == first.headers.get(name)
    assert again.headers[REPLAYED] == "true"
    assert REPLAYED not in first.headers


def twice(client: httpx.Client, path: str, **request: Any) -> Any:  # noqa: ANN401 - an object
    sent: dict[str, Any] = {**request, "headers": {**keyed(), **request.get("headers", {})}}
    first = client.post(path, **sent)
    assert first.is_success, f"{path}: {first.text}"
    assert_replayed(first, client.post(path, **sent))
    return first.json() if first.content else {}


def test_a_repeated_record_is_made_once_however_it_is_spelt(ann: httpx.Client) -> None:
    wanted = {"schema": make_schema(ann), "data": {"a": 1, "b": ["ü", None]}}
    headers = {**keyed(), "Content-Type": "application/json"}
    first = ann.post("/v1/records", content=json.dumps(wanted), headers=headers)
    assert first.status_code == 201, first.text
    spelt = json.dumps(dict(reversed(wanted.items())), indent=3, ensure_ascii=False)
    assert_replayed(first, ann.post("/v1/records", content=spelt.encode(), headers=headers))
    listed = ann.get("/v1/records", params={"schema": str(wanted["schema"])}).json()["data"]
    assert [record["id"] for record in listed] == [first.json()["id"]]
    other = ann.post("/v1/records", json={**wanted, "data": {}}, headers=headers)
    assert refusal(other) == (422, "idempotency_key_reused")


def test_a_repeated_upload_is_made_once_whatever_its_boundary(ann: httpx.Client) -> None:
    def send(boundary: str, content: str) -> httpx.Response:
        # In the other order the second time: the same fields.
        body, media_type = form(boundary, content, turned=boundary == "two")
        return ann.post("/v1/files", content=body, headers={**headers, "Content-Type": media_type})

    def listed() -> set[str]:
        return {file["id"] for file in ann.get("/v1/files", params={"limit": 100}).json()["data"]}

    before = listed()
    headers = keyed()
    text = str(uuid.uuid4())
    first = send("one", text)
    assert first.status_code == 200, first.text
    assert_replayed(first, send("two", text))
    assert refusal(send("one", text + ".")) == (422, "idempotency_key_reused")
    assert listed() - before == {first.json()["id"]}


def test_fifty_at_once_have_one_effect(ann: httpx.Client) -> None:
    name, headers = str(uuid.uuid4()), keyed()

    def send(_: int) -> httpx.Response:
        while True:
            answer = ann.post("/v1/groups", json={"name": name}, headers=headers)
            if answer.status_code not in {409, 503}:
                return answer
            assert answer.headers["Retry-After"] == "1"
            if answer.status_code == 409:
                assert answer.json()["error"]["code"] == "idempotency_key_in_use"

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    listed = ann.get("/v1/groups", params={"limit": 100}).json()["data"]
    assert [group["name"] for group in listed].count(name) == 1


def test_a_key_is_its_callers_and_its_routes(ann: httpx.Client, bob: httpx.Client) -> None:
    headers = keyed()
    made = [
        client.post(path, json=body, headers=headers)
        for client, path, body in (
            (ann, "/v1/groups", {"name": str(uuid.uuid4())}),
            (bob, "/v1/groups", {"name": str(uuid.uuid4())}),
            (ann, "/v1/vector_stores", {"name": "a"}),
        )
    ]
    assert [answer.is_success for answer in made] == [True] * 3
    assert [REPLAYED in answer.headers for answer in made] == [False] * 3
    assert len({answer.json()["id"] for answer in made}) == 3


def test_what_was_refused_is_tried_anew(ann: httpx.Client) -> None:
    name, headers = str(uuid.uuid4()), keyed()
    taken = ann.post("/v1/groups", json={"name": name})
    assert taken.status_code == 201
    for _ in range(2):
        refused = ann.post("/v1/groups", json={"name": name}, headers=headers)
        assert refusal(refused) == (409, "group_exists"), refused.text
    assert ann.delete(f"/v1/groups/{taken.json()['id']}").status_code == 200
    made = ann.post("/v1/groups", json={"name": name}, headers=headers)
    assert made.status_code == 201
    assert_replayed(made, ann.post("/v1/groups", json={"name": name}, headers=headers))


def test_a_new_key_is_shown_again_to_whoever_lost_the_answer(ann: httpx.Client) -> None:
    service = ann.post("/v1/services", json={"name": str(uuid.uuid4())}).json()["id"]
    headers = keyed()
    path = f"/v1/users/{service}/keys"
    first = ann.post(path, json={}, headers=headers)
    assert first.status_code == 201, first.text
    assert_replayed(first, ann.post(path, json={}, headers=headers))
    assert len(ann.get(path).json()["data"]) == 1
    revoked = ann.delete(f"{path}/{first.json()['id']}")
    assert revoked.is_success, revoked.text


def test_whoever_may_not_any_more_is_not_answered_again(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    document, headers = upload(ann), keyed()
    grant = share(ann, document, "bob@once.example", "comment")
    path = f"/v1/documents/{document}/comments"
    first = bob.post(path, json={"text": "so"}, headers=headers)
    assert first.status_code == 201, first.text
    assert_replayed(first, bob.post(path, json={"text": "so"}, headers=headers))
    assert ann.delete(f"/v1/grants/{grant}").status_code == 204
    assert bob.post(path, json={"text": "so"}, headers=headers).status_code == 404
    assert len(ann.get(path).json()["data"]) == 1


def test_an_erased_thing_takes_its_answer_and_is_not_made_anew(ann: httpx.Client) -> None:
    wanted, headers = {"schema": make_schema(ann), "data": {"a": "secret"}}, keyed()
    made = ann.post("/v1/records", json=wanted, headers=headers)
    path = made.headers["Location"]
    assert ann.delete(path, headers={"If-Match": "*"}).status_code == 200
    gone = ann.post("/v1/records", json=wanted, headers=headers)
    assert refusal(gone) == (410, "answer_erased")
    assert ann.get("/v1/records", params={"schema": str(wanted["schema"])}).json()["data"] == []


def test_an_erasure_is_answered_again(ann: httpx.Client) -> None:
    document, headers = upload(ann), keyed()
    first = ann.post(f"/v1/documents/{document}/erase", headers=headers)
    assert first.is_success, first.text
    assert_replayed(first, ann.post(f"/v1/documents/{document}/erase", headers=headers))


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "tab\there"])
def test_what_is_no_key_is_refused(ann: httpx.Client, key: str) -> None:
    for path in ("/v1/groups", "/v1/search"):
        answer = ann.post(path, json={}, headers=[(b"Idempotency-Key", key.encode())])
        assert refusal(answer) == (400, "malformed_idempotency_key")


def test_two_keys_are_no_key(ann: httpx.Client) -> None:
    sent = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = ann.post("/v1/groups", json={}, headers=sent)
    assert refusal(answer) == (400, "malformed_idempotency_key")


def test_whoever_is_nobody_yet_has_no_keys(service: Service) -> None:
    body: dict[str, Any] = {"tenant": TENANT, "email": "ann@once.example", "password": "x" * 20}
    with httpx.Client(base_url=service.url, timeout=60) as nobody:
        answer = nobody.post("/v1/sessions", json=body, headers=keyed())
    assert refusal(answer) == (400, "idempotency_key_not_taken")


def test_nothing_is_promised_that_is_not_kept(ann: httpx.Client) -> None:
    answer = ann.post("/v1/conversations", json={}, headers=keyed())
    assert refusal(answer) == (400, "idempotency_key_not_taken")


def test_what_only_reads_looks_again(ann: httpx.Client) -> None:
    document, headers = upload(ann), keyed()
    asked = {"resource": document, "action": "read"}
    for _ in range(2):
        answer = ann.post("/v1/access/check", json=asked, headers=headers)
        assert (answer.status_code, REPLAYED in answer.headers) == (200, False)
    assert ann.post(f"/v1/documents/{document}/erase").is_success
    assert ann.post("/v1/access/check", json=asked, headers=headers).status_code == 404


def test_each_thing_is_made_once(ann: httpx.Client, bob: httpx.Client) -> None:
    """One request of every kind that a short story can hold, each sent twice."""
    file = {"file": ("bell.txt", b"The bell rings at six.", "text/plain")}
    document = twice(ann, "/v1/documents", files=file)["id"]
    path = f"/v1/documents/{document}"
    tagged = {"headers": {"If-Match": ann.get(path).headers["ETag"]}}
    file = {"file": ("bell.txt", b"The bell rings at seven.", "text/plain")}
    twice(ann, f"{path}/versions", files=file, **tagged)
    tagged = {"headers": {"If-Match": ann.get(path).headers["ETag"]}}
    twice(ann, f"{path}/versions/1/restore", **tagged)
    assert [each["version"] for each in ann.get(f"{path}/versions").json()["data"]] == [3, 2, 1]
    twice(ann, f"{path}/comments", json={"text": "a"})
    assert ann.delete(path, headers={"If-Match": "*"}).is_success
    twice(ann, f"{path}/restore")
    twice(
        ann,
        "/v1/grants",
        json={
            "resource": document,
            "grantee": {"user": "bob@once.example"},
            "actions": ["search"],
        },
    )
    assert len(ann.get("/v1/grants", params={"resource": document}).json()["data"]) == 1
    link = twice(ann, "/v1/share-links", json={"resource": document, "actions": ["read"]})
    assert link["token"].startswith("ul_")
    twice(ann, "/v1/verification-links", json={"document": document, "version": 1})
    for answer, body in (("approve", {"json": {"actions": ["download"]}}), ("deny", {})):
        asked = twice(
            bob, "/v1/access-requests", json={"resource": document, "actions": ["download"]}
        )
        twice(ann, f"/v1/access-requests/{asked['id']}/{answer}", **body)


def test_each_other_thing_is_made_once(ann: httpx.Client) -> None:
    name, document = str(uuid.uuid4()), upload(ann)
    schema_id = twice(ann, "/v1/schemas", json={"name": name, "schema": {"type": "object"}})["id"]
    record = twice(ann, "/v1/records", json={"schema": schema_id, "data": {"a": 1}})["id"]
    lock = twice(ann, f"/v1/records/{record}/lock")
    assert lock["token"]
    twice(ann, f"/v1/schemas/{schema_id}/migrations", json={})
    store = twice(ann, "/v1/vector_stores", json={"name": name})["id"]
    twice(ann, f"/v1/vector_stores/{store}", json={"name": "other"})
    twice(ann, f"/v1/vector_stores/{store}/files", json={"file_id": document})
    twice(ann, f"/v1/vector_stores/{store}/files/{document}", json={"attributes": {"a": "b"}})
    begun = {
        "filename": "a.txt",
        "purpose": "user_data",
        "bytes": 1,
        "mime_type": "text/plain",
    }
    upload_id = twice(ann, "/v1/uploads", json=begun)["id"]
    twice(ann, f"/v1/uploads/{upload_id}/parts", files={"data": b"a"})
    user = twice(ann, "/v1/users", json={"email": f"{name}@once.example"})["id"]
    for act in ("suspend", "reinstate"):
        tagged = {"headers": {"If-Match": ann.get(f"/v1/users/{user}").headers["ETag"]}}
        twice(ann, f"/v1/users/{user}/{act}", **tagged)
    twice(ann, f"/v1/users/{user}/invitation")
    robot = twice(ann, "/v1/services", json={"name": name})["id"]
    twice(ann, f"/v1/users/{robot}/keys", json={})
    group = twice(ann, "/v1/groups", json={"name": name})["id"]
    twice(ann, f"/v1/groups/{group}/members", json={"user": user})
    hook = {"url": "https://hooks.example.org/a", "events": ["grant.created"]}
    webhook = twice(ann, "/v1/webhooks", json=hook)["id"]
    twice(ann, f"/v1/webhooks/{webhook}/secret", json={})
    twice(ann, "/v1/account/verification")
    twice(ann, "/v1/consent-notices", json={**NOTICE, "erases": False})


def test_the_sdk_sends_a_key_and_gets_one_file(service: Service) -> None:
    with service.client(service.make_key(TENANT, "sdk@once.example")) as client:
        headers = keyed()
        stores = [client.vector_stores.create(name="mine", extra_headers=headers) for _ in range(3)]
        assert len({store.id for store in stores}) == 1
        assert len(client.vector_stores.list().data) == 1
        files = [
            client.files.create(
                file=("a.txt", b"some words"), purpose="assistants", extra_headers=headers
            )
            for _ in range(2)
        ]
        assert files[0] == files[1]
        assert len(client.files.list().data) == 1
