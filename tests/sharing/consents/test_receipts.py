"""A receipt verifies offline with the log's key alone, and with a byte changed it does not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sharing.consents.conftest import CONTENT, ERASING, Practice
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.notes import verifier_key
from undercroft.ledger.verification.findings import Fault
from undercroft.ledger.verification.notes import VerifierKey, parse_key
from undercroft.ledger.verification.report import Report
from undercroft.ledger.verification.verify import VerificationUsageError, verify_path
from undercroft.sharing.consents.receipts import ConsentReceipts


async def open_receipts(practice: Practice, folder: Path) -> tuple[ConsentReceipts, VerifierKey]:
    """What signs receipts, and the key that they are verified with."""
    keys = LogKeys(practice.database, await KeyFile.open(folder / "provider.key"), "test")
    signer = (await keys.get(practice.ann.tenant_id)).signers[0]
    return (
        ConsentReceipts(practice.consents, keys),
        parse_key(verifier_key(signer.name, signer.public_key)),
    )


def verify(folder: Path, receipt: bytes, key: VerifierKey) -> Report:
    """What ``undercroft verify`` says."""
    path = folder / "receipt.jsonld"
    path.write_bytes(receipt)
    return verify_path(path, [key])


async def test_a_receipt_says_what_was_agreed_to_and_verifies_offline(
    practice: Practice, tmp_path: Path
) -> None:
    receipts, key = await open_receipts(practice, tmp_path)
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob, ERASING)
    receipt = await receipts.get(practice.bob, given.consent.id)
    report = verify(tmp_path, receipt, key)
    assert report.good
    assert report.kind == "consent_receipt"
    assert json.loads(report.to_json())["receipt"]["purpose"] == "second-opinion"
    assert "status dpv:ConsentGiven" in report.to_text()
    record = json.loads(receipt)["dpv:hasRecordOfActivity"]
    assert record["dpv:hasNotice"]["undercroft:sha256"] == given.notice.digest.hex()
    assert record["dpv:hasJurisdiction"] == list(CONTENT.jurisdictions)
    process = record["dpv:hasProcess"]
    assert process["undercroft:resource"] == render_id("file-", document.id)
    assert process["dpv:hasPersonalData"] == list(CONTENT.data_categories)
    assert process["dpv:hasRecipient"] == list(CONTENT.recipients)
    assert process["dpv:hasStorageCondition"]["undercroft:erasure"] == "promised"
    assert [event["undercroft:entry"] for event in record["dct:provenance"]] == [
        render_id("entry_", event.entry_id) for event in given.events
    ]


async def test_its_status_follows_the_consent(practice: Practice, tmp_path: Path) -> None:
    receipts, key = await open_receipts(practice, tmp_path)
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    await practice.consents.withdraw(practice.bob, given.consent.id)
    report = verify(tmp_path, await receipts.get(practice.bob, given.consent.id), key)
    assert report.good
    assert "status dpv:ConsentWithdrawn" in report.to_text()


async def test_any_change_is_found(practice: Practice, tmp_path: Path) -> None:
    receipts, key = await open_receipts(practice, tmp_path)
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    receipt = await receipts.get(practice.bob, given.consent.id)
    assert verify(tmp_path, receipt, key).good
    for before, after, fault in (
        (b'"second-opinion"', b'"advertising..."', Fault.BAD_SIGNATURE),
        (b"dpv:ConsentGiven", b"dpv:ConsentGivem", Fault.BAD_SIGNATURE),
        (b'"Dr. Cem"', b'"Dr. Cem","all"', Fault.BAD_SIGNATURE),
        (b'"proof":[', b'"proof":["x",', Fault.MALFORMED_CHECKPOINT),
        (b'":"', b'" :"', Fault.MALFORMED_RECEIPT),
        (b"dpv:ConsentReceipt", b"dpv:ConsentRecord", Fault.MALFORMED_RECEIPT),
        (b'"undercroft:log":"test/', b'"undercroft:log":"else/', Fault.OTHER_ORIGIN),
    ):
        assert before in receipt
        report = verify(tmp_path, receipt.replace(before, after, 1), key)
        assert {problem.fault for problem in report.problems} == {fault}, after


@pytest.mark.parametrize(
    "receipt",
    [
        b'{"@context":',
        b'{"@context":[]}',
        b'{"@context":1,"@type":"dpv:ConsentReceipt","proof":[]}',
        b'{"@context":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
async def test_hostile_receipts_are_malformed(
    practice: Practice, tmp_path: Path, receipt: bytes
) -> None:
    _, key = await open_receipts(practice, tmp_path)
    report = verify(tmp_path, receipt, key)
    assert {problem.fault for problem in report.problems} == {Fault.MALFORMED_RECEIPT}


async def test_a_receipt_takes_no_entry_and_no_content(practice: Practice, tmp_path: Path) -> None:
    _, key = await open_receipts(practice, tmp_path)
    path = tmp_path / "receipt.jsonld"
    path.write_bytes(b'{"@context":{}}')
    with pytest.raises(VerificationUsageError):
        verify_path(path, [key], content=path)
    with pytest.raises(VerificationUsageError):
        verify_path(path, [key], entry=path)


async def test_text_with_odd_characters_verifies(practice: Practice, tmp_path: Path) -> None:
    receipts, key = await open_receipts(practice, tmp_path)
    document = await practice.put_document(about=practice.bob)
    odd = ("a\nb", "tab\t", "\x7f\x85", "\u2028 \U0001f600", '"\\')
    notice = await practice.notices.create(
        practice.ann,
        "second-opinion",
        replace(CONTENT, recipients=odd),
        ERASING,
    )
    asked = await practice.consents.ask(practice.ann, notice.id, document)
    assert verify(tmp_path, await receipts.get(practice.bob, asked.consent.id), key).good


async def test_strangers_get_no_receipt(practice: Practice, tmp_path: Path) -> None:
    receipts, _ = await open_receipts(practice, tmp_path)
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    with pytest.raises(NotFoundError):
        await receipts.get(practice.cem, given.consent.id)
