"""Documents over HTTP, from the first upload to the last byte, as a client sees them."""

import io
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import connect, refusal
from tests.e2e.conftest import Service

TEXT = b"The lighthouse keeper Ingrid rings the bell at six."
NEWER = b"The lighthouse keeper Ingrid rings the bell at nine instead."


@pytest.fixture(scope="module")
def keys(service: Service) -> dict[str, str]:
    return {
        "ann": service.make_key("papers", "ann@example.org"),
        "bob": service.make_key("papers", "bob@example.org"),
        "admin": service.make_key("papers", "admin@example.org", "admin"),
    }


@pytest.fixture
def ann(service: Service, keys: dict[str, str]) -> Generator[httpx.Client]:
    with connect(service.url, keys["ann"]) as client:
        yield client


@pytest.fixture
def bob(service: Service, keys: dict[str, str]) -> Generator[httpx.Client]:
    with connect(service.url, keys["bob"]) as client:
        yield client


@pytest.fixture
def admin(service: Service, keys: dict[str, str]) -> Generator[httpx.Client]:
    with connect(service.url, keys["admin"]) as client:
        yield client


def create(client: httpx.Client, content: bytes = TEXT, **fields: str) -> httpx.Response:
    answer = client.post(
        "/v1/documents", data=fields, files={"file": ("bell.txt", io.BytesIO(content))}
    )
    assert answer.status_code == 201, answer.text
    return answer


def path_of(answer: httpx.Response) -> str:
    return f"/v1/documents/{answer.json()['id']}"


def add_version(client: httpx.Client, path: str, tag: str | None) -> httpx.Response:
    return client.post(
        f"{path}/versions",
        files={"file": ("bell.txt", io.BytesIO(NEWER))},
        headers={} if tag is None else {"If-Match": tag},
    )


def test_a_change_needs_the_tag_of_what_was_read(ann: httpx.Client) -> None:
    made = create(ann, name="Bell", metadata='{"place": "north"}')
    assert (made.json()["name"], made.json()["metadata"]) == ("Bell", {"place": "north"})
    path, first = path_of(made), made.headers["ETag"]
    assert made.headers["Location"] == path
    assert refusal(ann.patch(path, json={"name": "Bells"})) == (428, "precondition_required")
    changed = ann.patch(path, json={"name": "Bells"}, headers={"If-Match": first})
    assert changed.json()["name"] == "Bells"
    assert changed.headers["Cache-Control"] == "private, no-cache"
    assert changed.json()["metadata"] == {"place": "north"}
    assert changed.headers["ETag"] != first
    stale = ann.patch(path, json={"name": "Lost"}, headers={"If-Match": first})
    assert refusal(stale) == (412, "precondition_failed")
    weak = {"If-Match": f"W/{changed.headers['ETag']}"}
    assert ann.patch(path, json={"name": "Weak"}, headers=weak).status_code == 412
    assert ann.patch(path, json={"name": "No"}, headers={"If-Match": "nonsense"}).status_code == 400
    named = ann.patch(path, json={"name": "../Any\x1b[2J"}, headers={"If-Match": "*"})
    assert named.json()["name"] == "Any[2J"
    now = ann.get(path)
    known = ann.get(path, headers={"If-None-Match": now.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert ann.get(path, headers={"If-None-Match": first}).status_code == 200


@pytest.mark.parametrize(
    "metadata",
    [
        "[]",
        '{"a": 1}',
        "{",
        '{"": "x"}',
        '{"a": "\\ud800"}',
        '{"a": "\\u0000"}',
        '{"a": "lost", "a": "kept"}',
        "[" * 10_000,
    ],
)
def test_metadata_that_is_none_is_refused(ann: httpx.Client, metadata: str) -> None:
    answer = ann.post(
        "/v1/documents",
        data={"metadata": metadata},
        files={"file": ("bell.txt", io.BytesIO(TEXT))},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "metadata"


@pytest.mark.parametrize("kind", ["documents", "files"])
def test_a_strangers_page_does_not_run_in_a_browser(ann: httpx.Client, kind: str) -> None:
    files = {"file": ("page.html", b"<p>Hello.</p><script>alert(1)</script>")}
    data = {"purpose": "user_data"} if kind == "files" else {}
    made = ann.post(f"/v1/{kind}", files=files, data=data)
    answer = ann.get(f"/v1/{kind}/{made.json()['id']}/content")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_name_cannot_pretend_to_be_another(ann: httpx.Client) -> None:
    made = ann.post("/v1/documents", files={"file": ("plan.txt", b"the plan")})
    path = f"/v1/documents/{made.json()['id']}"
    changed = ann.patch(
        path,
        json={"name": "../../etc/plan\u202etxt.exe\r\nX-Injected: yes"},
        headers={"If-Match": made.headers["ETag"]},
    )
    assert changed.json()["name"] == "plantxt.exeX-Injected: yes"
    answer = ann.get(f"{path}/content")
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename*=UTF-8''plantxt.exeX-Injected%3A%20yes"
    )
    assert "X-Injected" not in answer.headers


def test_versions_are_numbered_kept_and_restored(ann: httpx.Client) -> None:
    made = create(ann)
    path = path_of(made)
    assert add_version(ann, path, None).status_code == 428
    second = add_version(ann, path, made.headers["ETag"])
    assert (second.status_code, second.json()["version"]) == (201, 2)
    assert add_version(ann, path, made.headers["ETag"]).status_code == 412
    assert ann.get(f"{path}/content").content == NEWER
    assert ann.get(f"{path}/versions/1/content").content == TEXT
    assert second.headers["Location"] == f"{path}/versions/2"
    third = ann.post(f"{path}/versions/1/restore", headers={"If-Match": second.headers["ETag"]})
    assert (third.status_code, third.json()["version"]) == (201, 3)
    assert third.headers["Location"] == f"{path}/versions/3"
    assert ann.get(f"{path}/content").content == TEXT
    page = ann.get(f"{path}/versions", params={"limit": 2}).json()
    assert ([item["version"] for item in page["data"]], page["has_more"]) == ([3, 2], True)
    rest = ann.get(f"{path}/versions", params={"after": page["last_id"]}).json()
    assert ([item["version"] for item in rest["data"]], rest["has_more"]) == ([1], False)
    assert rest["data"][0]["sha256"] == page["data"][0]["sha256"]
    assert ann.get(f"{path}/versions/4").status_code == 404
    assert ann.get(f"{path}/versions/0").status_code == 400


@pytest.mark.parametrize(
    ("header", "status", "expected", "content_range"),
    [
        ("bytes=0-2", 206, TEXT[:3], f"bytes 0-2/{len(TEXT)}"),
        ("bytes=4-", 206, TEXT[4:], f"bytes 4-{len(TEXT) - 1}/{len(TEXT)}"),
        ("bytes=-4", 206, TEXT[-4:], f"bytes {len(TEXT) - 4}-{len(TEXT) - 1}/{len(TEXT)}"),
        ("bytes=-1000", 206, TEXT, f"bytes 0-{len(TEXT) - 1}/{len(TEXT)}"),
        ("bytes=3-1000", 206, TEXT[3:], f"bytes 3-{len(TEXT) - 1}/{len(TEXT)}"),
        ("bytes=0-1,3-4", 200, TEXT, None),
        ("bytes=5-3", 200, TEXT, None),
        ("lines=1-2", 200, TEXT, None),
        ("bytes=-", 200, TEXT, None),
        ("bytes=1000-", 416, None, f"bytes */{len(TEXT)}"),
        ("bytes=-0", 416, None, f"bytes */{len(TEXT)}"),
    ],
)
def test_a_range_of_the_content(
    ann: httpx.Client, header: str, status: int, expected: bytes | None, content_range: str | None
) -> None:
    path = path_of(create(ann))
    answer = ann.get(f"{path}/content", headers={"Range": header})
    assert answer.status_code == status
    assert answer.headers.get("Content-Range") == content_range
    if expected is not None:
        assert answer.content == expected


def test_a_range_is_of_the_content_that_the_client_has(ann: httpx.Client) -> None:
    made = create(ann)
    path = path_of(made)
    tag = ann.head(f"{path}/content").headers["ETag"]
    wanted = {"Range": "bytes=0-2", "If-Range": tag}
    assert ann.get(f"{path}/content", headers=wanted).content == TEXT[:3]
    add_version(ann, path, made.headers["ETag"])
    changed = ann.get(f"{path}/content", headers=wanted)
    assert (changed.status_code, changed.content) == (200, NEWER)
    assert ann.get(f"{path}/versions/1/content", headers={"If-None-Match": tag}).status_code == 304
    head = ann.head(f"{path}/versions/1/content")
    assert (head.headers["Content-Length"], head.headers["ETag"]) == (str(len(TEXT)), tag)
    assert head.content == b""


def test_what_is_deleted_is_nowhere_until_it_is_restored(ann: httpx.Client) -> None:
    made = create(ann)
    path, document_id = path_of(made), made.json()["id"]
    store = ann.post("/v1/vector_stores", json={"name": "s", "file_ids": [document_id]}).json()
    gone = ann.delete(path)
    assert gone.json()["erased_after"] - gone.json()["deleted_at"] == 30 * 24 * 3600
    member = f"/v1/vector_stores/{store['id']}/files/{document_id}"
    for hidden in (path, f"{path}/content", f"{path}/versions", f"/v1/files/{document_id}", member):
        assert ann.get(hidden).status_code == 404, hidden
    assert ann.delete(member).status_code == 404
    assert ann.delete(path).status_code == 404
    assert ann.get(f"/v1/vector_stores/{store['id']}/files").json()["data"] == []
    for listing in ("/v1/documents", "/v1/files"):
        assert document_id not in ann.get(listing).text
    assert document_id in ann.get("/v1/documents", params={"deleted": True}).text
    restored = ann.post(f"{path}/restore")
    assert restored.json()["deleted_at"] is None
    assert ann.get(member).status_code == 200
    again = ann.post(f"{path}/restore")
    # The worker goes on indexing it meanwhile.
    same = {**restored.json(), "index_status": again.json()["index_status"]}
    assert (again.status_code, again.json()) == (200, same)
    assert ann.delete(path, headers={"If-Match": made.headers["ETag"]}).status_code == 412


def test_a_legal_hold_wins_and_says_so(
    ann: httpx.Client, bob: httpx.Client, admin: httpx.Client
) -> None:
    made = create(ann)
    path, document_id = path_of(made), made.json()["id"]
    hold = f"{path}/legal-hold"
    for nobody in (ann, bob):
        assert nobody.put(hold, json={"reason": "litigation-42"}).status_code == 403
    placed = admin.put(hold, json={"reason": "litigation-42"})
    assert placed.json()["reason"] == "litigation-42"
    assert admin.get(path).status_code == 404
    refusals = [
        ann.delete(path),
        ann.post(f"{path}/erase"),
        ann.delete(f"/v1/files/{document_id}"),
    ]
    for refused in refusals:
        assert refusal(refused) == (409, "legal_hold")
        assert "admin of your tenant" in refused.json()["error"]["message"]
    assert ann.get(path).json()["legal_hold"] == "litigation-42"
    assert admin.put(hold, json={"reason": "Free text"}).status_code == 400
    assert admin.delete(hold).status_code == 204
    assert admin.delete(hold).status_code == 204
    assert ann.post(f"{path}/erase").json()["erased"] is True
    assert ann.get(path).status_code == 404
    assert admin.put(hold, json={"reason": "litigation-42"}).status_code == 404


def test_a_sealed_document_is_in_no_vector_store(ann: httpx.Client) -> None:
    made = create(ann, sealed="true")
    assert made.json()["sealed"] is True
    document_id = made.json()["id"]
    refused = ann.post("/v1/vector_stores", json={"name": "s", "file_ids": [document_id]})
    assert refusal(refused) == (409, "document_sealed")
    tag = {"If-Match": made.headers["ETag"]}
    assert ann.patch(path_of(made), json={"sealed": False}, headers=tag).status_code == 200
    store = ann.post("/v1/vector_stores", json={"name": "s", "file_ids": [document_id]})
    assert store.status_code == 200


def test_others_see_nothing(ann: httpx.Client, bob: httpx.Client) -> None:
    made = create(ann)
    path = path_of(made)
    tag = {"If-Match": made.headers["ETag"]}
    attempts = [
        ("GET", path, None),
        ("GET", f"{path}/content", None),
        ("HEAD", f"{path}/content", None),
        ("GET", f"{path}/versions", None),
        ("GET", f"{path}/versions/1", None),
        ("GET", f"{path}/versions/1/content", None),
        ("GET", f"{path}/versions/1/receipt", None),
        ("POST", f"{path}/versions/1/restore", None),
        ("POST", f"{path}/restore", None),
        ("POST", f"{path}/erase", None),
        ("PATCH", path, {"name": "taken"}),
        ("DELETE", path, None),
    ]
    for method, target, body in attempts:
        answer = bob.request(method, target, json=body, headers=tag)
        assert answer.status_code == 404, (method, target)
    assert add_version(bob, path, made.headers["ETag"]).status_code == 404
    assert ann.get(path).headers["ETag"] == made.headers["ETag"]


def test_a_receipt_is_verified_offline(ann: httpx.Client, tmp_path: Path) -> None:
    made = create(ann)
    path = path_of(made)
    receipt = ann.get(f"{path}/versions/1/receipt")
    assert receipt.headers["Content-Type"] == "text/plain; charset=utf-8"
    version: dict[str, Any] = ann.get(f"{path}/versions/1").json()
    assert f"\nsha256 {version['sha256']}\n" in receipt.text
    assert f"\nentry {version['entry']}\n" in receipt.text
    kept, content = tmp_path / "bell.receipt", tmp_path / "bell.txt"
    kept.write_bytes(receipt.content)
    content.write_bytes(TEXT)
    key = ann.get("/v1/ledger").json()["verifier_key"]

    def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "undercroft", "verify", str(kept), "--key", key, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    good = verify("--content", str(content))
    assert good.returncode == 0, good.stdout
    content.write_bytes(NEWER)
    other = verify("--content", str(content))
    assert (other.returncode, "content_mismatch" in other.stdout) == (1, True)
    kept.write_bytes(receipt.content.replace(b"version 1", b"version 2"))
    altered = verify()
    assert (altered.returncode, "bad_signature" in altered.stdout) == (1, True)
    assert ann.get(f"/v1/audit/{version['entry']}").status_code == 200
