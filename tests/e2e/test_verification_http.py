"""Verification over HTTP, by somebody without a key: good proofs, foreign ones, and what no client should send."""

import io
import json
import time
from collections.abc import Generator
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.conftest import Service

CONTENT: Final = b"The orchard gate is locked with the iron key."
UNKNOWN: Final = {
    "object": "verification",
    "kind": "document_version",
    "vouched": False,
    "log": None,
    "signed_by": None,
    "status": None,
    "valid_until": None,
    "passages": None,
}
_PATIENCE: Final = 30.0


@pytest.fixture
def ann(service: Service) -> Generator[httpx.Client]:
    """Who keeps something."""
    with connect(f"{service.url}/v1", service.make_key("verified", "ann@example.org")) as client:
        yield client


@pytest.fixture
def anybody(service: Service) -> Generator[httpx.Client]:
    """Who has no key."""
    with httpx.Client(base_url=f"{service.url}/v1", timeout=60) as client:
        yield client


def upload(ann: httpx.Client) -> str:
    """A document with one version."""
    made = ann.post("/documents", files={"file": ("gate.txt", CONTENT, "text/plain")})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def verify(anybody: httpx.Client, proof: bytes) -> dict[str, Any]:
    """What is answered, once the bucket of this client has room."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        answer = anybody.post("/verify", content=proof, headers={"Content-Type": "text/plain"})
        if answer.status_code != 429 or time.monotonic() > deadline:
            break
        time.sleep(
            int(answer.headers["Retry-After"])
        )  # another process's bucket can only be waited for
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    shown: dict[str, Any] = answer.json()
    assert shown.keys() == UNKNOWN.keys()
    return shown


def test_a_receipt_and_a_proof_are_verified_without_a_key(
    ann: httpx.Client, anybody: httpx.Client
) -> None:
    document = upload(ann)
    receipt = ann.get(f"/documents/{document}/versions/1/receipt")
    shown = verify(anybody, receipt.content)
    log = ann.get("/ledger").json()
    assert (shown["vouched"], shown["status"]) == (True, "unchanged")
    assert (shown["log"], shown["kind"]) == (log["origin"], "document_version")
    assert log["verifier_key"].startswith(shown["signed_by"])
    entry = next(
        line.removeprefix("entry ")
        for line in receipt.text.splitlines()
        if line.startswith("entry ")
    )
    proof = ann.get(f"/audit/{entry}/proof")
    assert proof.status_code == 200, proof.text
    shown = verify(anybody, proof.content)
    assert (shown["kind"], shown["status"]) == ("entry", "unchanged")
    assert ann.post(f"/documents/{document}/erase", headers={"If-Match": "*"}).status_code < 300
    assert verify(anybody, receipt.content)["status"] == "erased"


def test_what_is_not_vouched_for_looks_the_same_whatever_the_reason(
    ann: httpx.Client, anybody: httpx.Client
) -> None:
    document = upload(ann)
    receipt = ann.get(f"/documents/{document}/versions/1/receipt").content
    other_log = receipt.replace(ann.get("/ledger").json()["id"].encode(), b"7" * 32)
    other_document = receipt.replace(document.encode(), f"file-{7:032x}".encode())
    assert verify(anybody, other_log) == verify(anybody, other_document) == UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"@context":{}}',
        b'{"a":' * 60_000 + b"1" + b"}" * 60_000,
        b'{"format":"undercroft-provenance@v1","entries":[{"proof":"\\ud800"}]}',
        b"undercroft-receipt@v1\n" + b"\xff" * 100,
        bytes(range(256)),
    ],
)
@pytest.mark.parametrize("media_type", ["text/plain", "application/json"])
def test_what_is_no_proof_gets_a_reason(
    anybody: httpx.Client, body: bytes, media_type: str
) -> None:
    answer = anybody.post("/verify", content=body, headers={"Content-Type": media_type})
    assert answer.status_code in {400, 429}, answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]["code"] == "no_proof"


def test_ten_megabytes_are_not_read(anybody: httpx.Client) -> None:
    def endless() -> Generator[bytes]:
        source = io.BytesIO(b"x" * 10_000_000)
        while piece := source.read(65536):
            yield piece

    answer = anybody.post("/verify", content=endless(), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 413
    assert anybody.post("/verify", content=b"x" * 10_000_000).status_code == 413


def test_parameters_are_refused(anybody: httpx.Client) -> None:
    assert anybody.post("/verify?token=x", content=b"x").status_code == 400


def test_a_link_leads_to_a_page_and_to_json(
    service: Service, ann: httpx.Client, anybody: httpx.Client
) -> None:
    document = upload(ann)
    made = ann.post("/verification-links", json={"document": document, "version": 1})
    assert made.status_code == 201, made.text
    link = made.json()
    assert made.headers["Location"] == f"/v1/verification-links/{link['id']}"
    assert link["qr"].startswith("<svg")
    assert link["url"] == f"{service.url}/verify/{link['token']}"
    page = httpx.get(link["url"], headers={"Accept": "text/html"}, timeout=60)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self'" in policy
    assert "unchanged" in page.text
    assert sha256(CONTENT).hexdigest() in page.text
    for secret in (document, "gate.txt", "ann@example.org", link["token"], CONTENT.decode()):
        assert secret not in page.text
    assert "http" not in page.text.replace("http-equiv", "")
    told = httpx.get(link["url"], headers={"Accept": "application/json"}, timeout=60).json()
    assert (told["link"], told["status"]) == ("live", "unchanged")
    assert told["sha256"] == sha256(CONTENT).hexdigest()
    (listed,) = [
        each for each in ann.get("/verification-links").json()["data"] if each["id"] == link["id"]
    ]
    assert "token" not in listed
    assert ann.delete(f"/verification-links/{link['id']}").status_code == 204
    told = httpx.get(link["url"], headers={"Accept": "application/json"}, timeout=60).json()
    assert {name for name, value in told.items() if value is not None} == {
        *("object", "kind", "vouched", "link"),
    }
    assert told["link"] == "revoked"
    assert link["token"] not in service.log()
    assert anybody.get("/verification-links").status_code == 401


def test_an_unknown_link_is_a_page_or_a_problem(service: Service) -> None:
    url = f"{service.url}/verify/%3Cscript%3Ealert(1)%3C"
    page = httpx.get(url, headers={"Accept": "text/html"}, timeout=60)
    assert page.status_code == 404
    assert "<script" not in page.text
    told = httpx.get(url, headers={"Accept": "application/json"}, timeout=60)
    assert told.status_code == 404
    assert told.headers["content-type"] == "application/problem+json"


def test_the_page_takes_a_file_and_a_pasted_text(service: Service, ann: httpx.Client) -> None:
    receipt = ann.get(f"/documents/{upload(ann)}/versions/1/receipt").content
    url = f"{service.url}/verify"
    assert "<form" in httpx.get(url, timeout=60).text
    by_file = httpx.post(
        url, data={"proof": ""}, files={"file": ("a.receipt", receipt)}, timeout=60
    )
    pasted = receipt.decode().strip().replace("\n", "\r\n")
    by_text = httpx.post(url, data={"proof": pasted}, timeout=60)
    assert "It is there, unchanged." in by_file.text
    assert by_file.text == by_text.text
    for hostile in ("<script>alert(1)</script>", "", "\ud800", "{" * 5000):
        refused = httpx.post(
            url,
            content=urlencode({"proof": hostile}, errors="surrogatepass"),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=60,
        )
        assert refused.status_code == 400, refused.text
        assert "<script" not in refused.text
    for body, media_type in (
        (b"x", "text/plain"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"proof=%FF", "application/x-www-form-urlencoded"),
        (b"proof=a&proof=b", "application/x-www-form-urlencoded"),
    ):
        refused = httpx.post(url, content=body, headers={"Content-Type": media_type}, timeout=60)
        assert refused.status_code == 400, (media_type, refused.text)


def test_fields_of_a_record_are_verified_by_receipt_and_by_link(
    ann: httpx.Client, anybody: httpx.Client
) -> None:
    schema = ann.post("/schemas", json={"name": "gate", "schema": {}}).json()["id"]
    data = {"key": "iron", "keeper": {"name": "Bea"}, "code": 4711}
    record = ann.post("/records", json={"schema": schema, "data": data}).json()["id"]
    asked = {"fields": ["/code", "/keeper/name"]}
    answer = ann.post(f"/records/{record}/receipt", json=asked)
    assert answer.status_code == 200, answer.text
    receipt = answer.json()
    shown = verify(anybody, answer.content)
    assert (shown["kind"], shown["status"]) == ("record_fields", "unchanged")
    receipt["openings"].pop()
    assert verify(anybody, json.dumps(receipt).encode()) == shown
    made = ann.post(
        "/verification-links", json={"record": record, "version": 1, "fields": ["/code"]}
    )
    assert made.status_code == 201, made.text
    link = made.json()
    assert (link["record"], link["document"], link["fields"]) == (record, None, ["/code"])
    told = httpx.get(link["url"], headers={"Accept": "application/json"}, timeout=60).json()
    (field,) = told["fields"]
    digest = sha256(bytes.fromhex(field["salt"]) + b"4711").hexdigest()
    assert (field["field"], field["sha256"]) == ("/code", digest)
    page = httpx.get(link["url"], headers={"Accept": "text/html"}, timeout=60)
    assert digest in page.text
    for secret in ("4711", "Bea", "iron", record, link["token"]):
        assert secret not in page.text
    assert ann.delete(f"/records/{record}", headers={"If-Match": "*"}).status_code == 200
    assert verify(anybody, answer.content)["status"] == "erased"
    told = httpx.get(link["url"], headers={"Accept": "application/json"}, timeout=60).json()
    assert (told["status"], told["fields"]) == ("erased", None)


@pytest.mark.parametrize(
    "body",
    [
        {"version": 1},
        {"version": 1, "document": "file-1", "record": "rec_1", "fields": ["/a"]},
        {"version": 1, "record": "rec_1"},
        {"version": 1, "document": "file-1", "fields": ["/a"]},
        {"version": 1, "record": "rec_1", "fields": []},
        {"version": 1, "record": "rec_1", "fields": ["a"]},
        {"version": 1, "record": "rec_1", "fields": [f"/{n}" for n in range(33)]},
    ],
)
def test_a_link_is_to_a_document_or_to_fields_of_a_record(
    ann: httpx.Client, body: dict[str, Any]
) -> None:
    refused = ann.post("/verification-links", json=body)
    assert refused.status_code in {400, 422}, refused.text
