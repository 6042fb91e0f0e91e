"""A receipt of a version: whether that is there, unchanged, and nothing that the receipt does not say itself."""

import io
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, scope_maker
from tests.database_server import fresh_database
from tests.owner import past_policies
from tests.verification.conftest import Desk, open_desk
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import render_id
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.ledger.notes import sign_note
from undercroft.ledger.rotation import SigningKeyRotation
from undercroft.verification.errors import NoProofError
from undercroft.verification.models import ProofKind, Standing, Verdict

NOT_OURS = Verdict(ProofKind.DOCUMENT_VERSION)


async def test_a_version_that_is_there_is_vouched_for(desk: Desk) -> None:
    document = await desk.put()
    verdict = await desk.verification.verify(await desk.receipt(document))
    origin = (await desk.log_keys.get(desk.ann.tenant_id)).origin
    assert (verdict.status, verdict.log) == (Standing.UNCHANGED, origin)
    assert str(verdict.signed_by).startswith(f"{origin}+")
    assert (verdict.valid_until, verdict.passages) == (None, None)


async def test_before_its_entry_has_a_number_it_is_vouched_for_as_well(desk: Desk) -> None:
    source = io.BytesIO(b"The ferry.")
    document = await desk.documents.import_file(desk.ann, source, "ferry.txt", "user_data")
    verdict = await desk.verification.verify(await desk.receipt(document))
    assert verdict.status is Standing.UNCHANGED


async def test_it_says_what_became_of_it(desk: Desk) -> None:
    document = await desk.put()
    receipt = await desk.receipt(document)
    await desk.trash.put(desk.ann, document.id, None)
    assert (await desk.verification.verify(receipt)).status is Standing.DELETED
    await desk.trash.restore(desk.ann, document.id, None)
    assert (await desk.verification.verify(receipt)).status is Standing.UNCHANGED
    await desk.documents.delete(desk.ann, document.id)
    assert (await desk.verification.verify(receipt)).status is Standing.ERASED


async def test_what_was_signed_by_a_key_that_signs_no_more_is_still_vouched_for(desk: Desk) -> None:
    document = await desk.put()
    receipt = await desk.receipt(document)
    rotation = SigningKeyRotation(desk.database, desk.log_keys, desk.documents._ledger)
    await rotation.rotate(desk.ann.tenant_id)
    await rotation.rotate(desk.ann.tenant_id)
    assert (await desk.verification.verify(receipt)).status is Standing.UNCHANGED


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE blobs SET byte_size = byte_size + 1",
        "UPDATE blobs SET sealed_sha256 = (SELECT b.sealed_sha256 FROM blobs AS b WHERE b.id <> blobs.id)",
        "UPDATE document_versions SET created_at = created_at + interval '1 second'",
    ],
    ids=["size", "digest", "time"],
)
async def test_what_was_altered_in_the_database_is_told(
    desk: Desk, database_urls: DatabaseUrls, change: str
) -> None:
    document = await desk.put()
    await desk.put(b"The clock was repaired.")
    receipt = await desk.receipt(document)
    async with past_policies(database_urls, "blobs", "document_versions") as owner:
        await owner.execute(change)
    verdict = await desk.verification.verify(receipt)
    assert verdict.status is Standing.CHANGED


async def test_a_content_that_was_exchanged_with_its_rows_is_told_by_the_ledger(
    desk: Desk, database_urls: DatabaseUrls
) -> None:
    """Whoever holds the log's key, and the database, still cannot make the ledger say another thing."""
    document = await desk.put()
    other = await desk.put(b"The clock was repaired.")
    async with past_policies(database_urls, "document_versions") as owner:
        await owner.execute(
            "UPDATE document_versions SET blob_id = $1 WHERE document_id = $2",
            other.blob_id,
            document.id,
        )
    receipt = await desk.receipt(document)  # says the other content, and is signed
    verdict = await desk.verification.verify(receipt)
    assert verdict.status is Standing.CHANGED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("document", f"file-{7:032x}"),
        ("version", "2"),
        ("version", "9999999999"),
        ("size", "24"),
        ("sha256", "0" * 64),
        ("entry", f"entry_{7:032x}"),
        ("log", f"test/ledger/{7:032x}"),
        ("log", "elsewhere.example/ledger/x"),
    ],
)
async def test_an_altered_receipt_is_not_ours(desk: Desk, field: str, value: str) -> None:
    document = await desk.put()
    lines = (await desk.receipt(document)).decode().split("\n")
    altered = "\n".join(
        f"{field} {value}" if line.startswith(f"{field} ") else line for line in lines
    )
    assert await desk.verification.verify(altered.encode()) == NOT_OURS


async def test_what_the_log_never_had_is_not_ours_though_its_key_signed_it(desk: Desk) -> None:
    document = await desk.put()
    keys = await desk.log_keys.get(desk.ann.tenant_id)
    receipt = (await desk.receipt(document)).decode().partition("\n\n")[0] + "\n"
    for before, after in (
        (render_id("file-", document.id), f"file-{7:032x}"),
        ("version 1", "version 2"),
        ("version 1", "version 9999999999"),
        ("entry entry_", "entry entry_f"),
    ):
        forged = receipt.replace(before, after)
        if after == "entry entry_f":
            forged = forged.removesuffix("\n")[:-1] + "\n"
        assert forged != receipt
        verdict = await desk.verification.verify(sign_note(forged, keys.signers).encode())
        assert verdict == NOT_OURS, after


@pytest.mark.parametrize("field", ["sha256", "size", "time"])
async def test_what_it_says_has_to_be_what_is_kept(desk: Desk, field: str) -> None:
    """As a key that was stolen could sign it."""
    document = await desk.put()
    keys = await desk.log_keys.get(desk.ann.tenant_id)
    text = (await desk.receipt(document)).decode().partition("\n\n")[0] + "\n"
    line = next(line for line in text.splitlines() if line.startswith(f"{field} "))
    digit = next(character for character in reversed(line) if character.isdigit())
    at = line.rindex(digit)
    altered = text.replace(line, f"{line[:at]}{9 - int(digit)}{line[at + 1 :]}")
    assert altered != text
    verdict = await desk.verification.verify(sign_note(altered, keys.signers).encode())
    assert verdict.status is Standing.CHANGED


async def test_another_installations_receipt_and_an_unknown_one_get_one_answer(
    desk: Desk, database_server: DatabaseUrls, tmp_path: Path
) -> None:
    async with (
        fresh_database(database_server) as urls,
        Database(urls.service, clock=SystemClock(), size=2) as elsewhere,
    ):
        other = await open_desk(elsewhere, tmp_path / "other", await scope_maker(elsewhere)())
        foreign = await other.receipt(await other.put())
        assert (await other.verification.verify(foreign)).status is Standing.UNCHANGED
    assert await desk.verification.verify(foreign) == NOT_OURS


async def test_another_tenants_key_signs_nothing_of_ours(desk: Desk, make_scope: MakeScope) -> None:
    """A receipt that names one log, and is signed by the key of another of this installation."""
    document = await desk.put()
    eve = replace(desk, ann=await make_scope())
    await eve.put(b"Eve's.")
    hers = await desk.log_keys.get(eve.ann.tenant_id)
    text = (await desk.receipt(document)).decode().partition("\n\n")[0] + "\n"
    signed = sign_note(text, hers.signers).encode()
    assert await desk.verification.verify(signed) == NOT_OURS
    own = text.replace((await desk.log_keys.get(desk.ann.tenant_id)).origin, hers.origin)
    signed = sign_note(own, hers.signers).encode()
    assert await desk.verification.verify(signed) == NOT_OURS


async def test_an_entrys_proof_is_held_against_the_log(desk: Desk) -> None:
    document = await desk.put()
    await desk.put(b"Another.")
    version = await make_entry(desk, document.id.hex)
    proof = (await desk.reader.prove_entry(desk.ann, version, None)).encode()
    verdict = await desk.verification.verify(proof)
    assert (verdict.kind, verdict.status) == (ProofKind.ENTRY, Standing.UNCHANGED)
    for other in (b"index 1\n", b"index 7\n"):
        altered = proof.replace(b"index 0\n", other)
        assert await desk.verification.verify(altered) == Verdict(ProofKind.ENTRY)


async def make_entry(desk: Desk, document: str) -> UUID:
    """The id of the first entry about a document."""
    async with desk.database.transaction(desk.ann) as transaction:
        return await transaction.fetchval(
            "SELECT id FROM ledger_entries WHERE resource = $1 ORDER BY position",
            f"file-{document}",
        )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 100,
        b"undercroft-receipt@v1\n",
        b"undercroft-receipt@v1\n\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\n\nx\n",
        b"{}",
        b"{" * 5000,
        b'{"@context":' * 5000,
        b'{"@context":{}}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"format":"undercroft-provenance@v1","entries":[]}',
        b'{"format":"undercroft-provenance@v1","entries":[{"proof":"\\ud800"}]}',
        b'{"format":"undercroft-provenance@v1","entries":[{"proof":"x"}]}',
        b'{"format":"undercroft-provenance@v1","format":"x"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{",
        "{\u2028}".encode(),
        b"<html>",
    ],
)
async def test_what_is_no_proof_is_refused_with_a_reason(desk: Desk, data: bytes) -> None:
    with pytest.raises(NoProofError) as refused:
        await desk.verification.verify(data)
    assert len(refused.value.message) < 500
