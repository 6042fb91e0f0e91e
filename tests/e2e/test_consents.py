"""Consent over HTTP: two people, a receipt that the command line verifies, and erasure by the real worker."""

import json
import subprocess
import sys
import time
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.conftest import Service

NOTICE: Final = {
    "title": "A second opinion",
    "text": "We show what was found to another doctor.",
    "purpose": "second-opinion",
    "purpose_description": "Another doctor looks at what was found.",
    "data_categories": ["dpv-pd:HealthRecord"],
    "controller": {"name": "The practice", "contact": "practice@example.org"},
    "recipients": ["Dr. Quill"],
    "retention": "For thirty days.",
    "retention_days": 30,
    "jurisdictions": ["DE"],
    "validity_days": 14,
    "withdrawal": "Withdraw it here.",
    "erases": True,
}
_DIGESTED: Final = ("id", "object", "version", "latest_version", "owner", "sha256", "created_at")
_PATIENCE: Final = 90.0


@pytest.fixture
def people(
    service: Service, request: pytest.FixtureRequest
) -> Generator[tuple[httpx.Client, httpx.Client]]:
    """The owner and the data subject."""
    tenant = f"practice of {request.node.name}"[:100]
    with (
        connect(f"{service.url}/v1", service.make_key(tenant, "ann@example.org")) as ann,
        connect(f"{service.url}/v1", service.make_key(tenant, "bob@example.org")) as bob,
    ):
        yield ann, bob


def ask(ann: httpx.Client, *, about: str = "bob@example.org") -> dict[str, Any]:
    """A document of Ann's, and a question about it."""
    document = ann.post("/documents", files={"file": ("findings.txt", b"Nothing.")}).json()
    marked = ann.put(f"/data-subjects/{document['id']}", json={"subject": about})
    assert marked.status_code == 200
    notice = ann.post("/consent-notices", json=NOTICE)
    assert notice.status_code == 201
    assert ann.get(notice.headers["Location"].removeprefix("/v1")).json() == notice.json()
    body = {"notice": notice.json()["id"], "resource": document["id"]}
    asked = ann.post("/consents", json=body)
    assert asked.status_code == 201
    return dict(asked.json())


def test_consent_is_given_proved_and_taken_back(
    people: tuple[httpx.Client, httpx.Client], tmp_path: Path
) -> None:
    ann, bob = people
    asked = ask(ann)
    path = f"/consents/{asked['id']}"
    digested = {name: value for name, value in asked["notice"].items() if name not in _DIGESTED}
    canonical = json.dumps(digested, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert asked["notice"]["sha256"] == sha256(canonical.encode()).hexdigest()

    assert ann.post(f"{path}/give", json={"notice_version": 1}).status_code == 404
    assert bob.post(f"{path}/give", json={"notice_version": 2}).status_code == 409
    assert bob.post(f"{path}/give", json={"notice_version": 1}).json()["status"] == "given"
    assert [one["id"] for one in bob.get("/consents").json()["data"]] == [asked["id"]]
    assert ann.get("/consents").json()["data"] == []
    assert len(ann.get("/consents", params={"role": "controller"}).json()["data"]) == 1

    grant = {"resource": asked["resource"], "grantee": {"user": "bob@example.org"}}
    made = ann.post("/grants", json={**grant, "actions": ["read"]})
    assert made.status_code == 201, made.text
    shared = made.json()
    assert (shared["consent"], shared["purpose"]) == (asked["id"], "second-opinion")

    receipt = tmp_path / "consent.jsonld"
    receipt.write_bytes(bob.get(f"{path}/receipt").content)
    verifier = bob.get("/ledger").json()["verifier_key"]
    command = [sys.executable, "-m", "undercroft", "verify", str(receipt), "--key", verifier]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "status dpv:ConsentGiven" in verified.stdout
    receipt.write_bytes(receipt.read_bytes().replace(b"Quill", b"Quilt"))
    forged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert forged.returncode == 1
    assert "bad_signature" in forged.stdout

    withdrawn = bob.post(f"{path}/withdraw").json()
    assert (withdrawn["status"], withdrawn["erasure"]) == ("withdrawn", "pending")
    refused = ann.post("/grants", json={**grant, "actions": ["read"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "consent_required")
    deadline = time.monotonic() + _PATIENCE
    while bob.get(path).json()["erasure"] != "done" and time.monotonic() < deadline:
        time.sleep(0.5)  # the worker's round, which only a clock can tell of
    assert bob.get(path).json()["erasure"] == "done"
    assert ann.get(f"/documents/{asked['resource']}").status_code == 404


def test_others_learn_nothing_of_a_consent(
    service: Service, people: tuple[httpx.Client, httpx.Client]
) -> None:
    ann, _ = people
    asked = ask(ann)
    key = service.make_key("another", "dee@example.org")
    paths = (
        ("GET", f"/consents/{asked['id']}"),
        ("GET", f"/consents/{asked['id']}/uses"),
        ("GET", f"/consents/{asked['id']}/receipt"),
        ("POST", f"/consents/{asked['id']}/withdraw"),
        ("GET", f"/consent-notices/{asked['notice']['id']}"),
        ("GET", f"/data-subjects/{asked['resource']}"),
        ("DELETE", f"/data-subjects/{asked['resource']}"),
    )
    with connect(f"{service.url}/v1", key) as dee:
        for method, path in paths:
            assert dee.request(method, path).status_code == 404, path


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"purpose": "Free text"}, "purpose"),
        ({"validity_days": 0}, "validity_days"),
        ({"validity_days": 4000}, "validity_days"),
        ({"jurisdictions": ["Germany"]}, "jurisdictions.0"),
        ({"recipients": []}, "recipients"),
        ({"text": "x" * 20_001}, "text"),
        ({"retention_days": True}, "retention_days"),
        ({"secret": 1}, "secret"),
    ],
)
def test_a_notice_that_makes_no_sense_is_refused(
    people: tuple[httpx.Client, httpx.Client], change: dict[str, object], param: str
) -> None:
    ann, _ = people
    refused = ann.post("/consent-notices", json={**NOTICE, **change})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_a_personal_document_gets_into_no_other_store(
    people: tuple[httpx.Client, httpx.Client],
) -> None:
    ann, _ = people
    asked = ask(ann)
    store = ann.post("/vector_stores", json={"name": "all"}).json()["id"]
    refused = ann.post(f"/vector_stores/{store}/files", json={"file_id": asked["resource"]})
    assert refused.status_code == 409
    assert "about the same person" in refused.json()["error"]["message"]
    assert (
        ann.put(f"/data-subjects/{store}", json={"subject": "bob@example.org"}).status_code == 200
    )
    added = ann.post(f"/vector_stores/{store}/files", json={"file_id": asked["resource"]})
    assert added.status_code == 200
    mixed = ann.delete(f"/data-subjects/{store}")
    assert mixed.json()["error"]["code"] == "mixed_data_subjects"
    nobody = ann.put(f"/data-subjects/{store}", json={"subject": "nobody@example.org"})
    assert nobody.json()["error"]["param"] == "subject"


def test_access_is_asked_for_and_approved_once(
    people: tuple[httpx.Client, httpx.Client],
) -> None:
    ann, bob = people
    document = ann.post("/documents", files={"file": ("plan.txt", b"A plan.")}).json()["id"]
    wish = {"actions": ["read", "search"], "max_uses": 5, "message": "For the meeting."}
    answers = [
        bob.post("/access-requests", json={**wish, "resource": resource})
        for resource in (document, f"file-{'0' * 32}")
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    shapes = [
        {name: value for name, value in answer.json().items() if name not in {"id", "resource"}}
        for answer in answers
    ]
    assert shapes[0] == shapes[1]
    assert {bob.get(f"/access-requests/{one.json()['id']}").status_code for one in answers} == {404}

    [asked] = ann.get("/access-requests").json()["data"]
    assert asked["asked"]["message"] == "For the meeting."
    path = f"/access-requests/{asked['id']}"
    wider = ann.post(f"{path}/approve", json={"actions": ["read", "write"]})
    assert (wider.status_code, wider.json()["error"]["code"]) == (409, "wider_than_asked")
    approved = ann.post(f"{path}/approve", json={"actions": ["read"]}).json()
    grant = bob.get(f"/grants/{approved['grant']}").json()
    assert (grant["actions"], grant["max_uses"]) == (["read"], 5)
    assert bob.get(path).json()["status"] == "approved"
    assert ann.post(f"{path}/deny").json()["error"]["code"] == "request_closed"
    assert ann.post(f"{path}/approve").json()["error"]["code"] == "request_closed"
