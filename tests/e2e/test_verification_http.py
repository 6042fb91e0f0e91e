"""Verification over HTTP, by somebody without a key: good proofs, foreign ones, and what no client should send."""

import io
import time
from collections.abc import Generator
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Service

pytestmark = pytest.mark.xdist_group("service")

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
    with httpx.Client(
        base_url=f"{service.url}/v1",
        headers={"Authorization": f"Bearer {service.make_key('verified', 'ann@example.org')}"},
        timeout=60,
    ) as client:
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
