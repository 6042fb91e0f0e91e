"""A consent's receipt: where the consent is now, whatever the receipt says of its day."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MakeScope
from tests.sharing.consents.conftest import Practice, open_practice
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.ledger.directory import LogDirectory
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.leaves import canonical_object
from undercroft.ledger.notes import sign_note
from undercroft.ledger.verification.canonical import parse_canonical
from undercroft.sharing.consents.models import ConsentState
from undercroft.sharing.consents.receipts import HEADER, ConsentReceipts
from undercroft.verification.models import ProofKind, Verdict
from undercroft.verification.service import VerificationService

NOT_OURS = Verdict(ProofKind.CONSENT)


@dataclass(frozen=True, slots=True)
class Counter:
    """Where receipts of a practice's consents are made and shown again."""

    practice: Practice
    keys: LogKeys
    receipts: ConsentReceipts
    verification: VerificationService


@pytest.fixture
async def counter(database: Database, tmp_path: Path, make_scope: MakeScope) -> Counter:
    """An empty practice's."""
    practice = await open_practice(database, tmp_path, make_scope)
    keys = LogKeys(database, await KeyFile.open(tmp_path / "provider.key"), "test")
    return Counter(
        practice,
        keys,
        ConsentReceipts(practice.consents, keys),
        VerificationService(database, LogDirectory(database), practice.cabinet.keys),
    )


async def test_it_says_where_the_consent_is_now(counter: Counter) -> None:
    practice = counter.practice
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    receipt = await counter.receipts.get(practice.bob, given.consent.id)
    verdict = await counter.verification.verify(receipt)
    assert verdict.log is not None
    assert (verdict.status, verdict.valid_until) == (
        ConsentState.GIVEN,
        given.consent.valid_until,
    )
    await practice.expire(given.consent.id)
    assert (await counter.verification.verify(receipt)).status is ConsentState.EXPIRED
    await practice.consents.renew(practice.bob, given.consent.id, given.notice.version)
    assert (await counter.verification.verify(receipt)).status is ConsentState.GIVEN
    await practice.consents.withdraw(practice.bob, given.consent.id)
    assert (await counter.verification.verify(receipt)).status is ConsentState.WITHDRAWN


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"second-opinion", b"advertisement"),
        (b"ConsentGiven", b"ConsentGivem"),
        (b'"undercroft:log":"test/', b'"undercroft:log":"else/'),
    ],
)
async def test_an_altered_one_is_not_ours(counter: Counter, before: bytes, after: bytes) -> None:
    practice = counter.practice
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    receipt = await counter.receipts.get(practice.bob, given.consent.id)
    assert before in receipt
    assert await counter.verification.verify(receipt.replace(before, after)) == NOT_OURS


async def test_what_is_signed_and_not_so_here_is_not_ours(counter: Counter) -> None:
    """As a key that was stolen could sign it."""
    practice = counter.practice
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    receipt = await counter.receipts.get(practice.bob, given.consent.id)
    signers = (await counter.keys.get(practice.ann.tenant_id)).signers
    for before, after in (
        (b"second-opinion", b"advertisement"),
        (practice.bob.principal_id.hex.encode(), practice.cem.principal_id.hex.encode()),
        (practice.ann.principal_id.hex.encode(), practice.cem.principal_id.hex.encode()),
        (document.id.hex.encode(), b"7" * 32),
        (given.consent.id.hex.encode(), b"7" * 32),
        (b"consent_", b"consent-"),
    ):
        value = parse_canonical(receipt.replace(before, after))
        assert isinstance(value, dict)
        del value["proof"]
        text = f"{HEADER}\n{canonical_object(value).decode()}\n"
        proof = sign_note(text, signers).removeprefix(f"{text}\n").splitlines()
        forged = canonical_object({**value, "proof": proof})
        assert await counter.verification.verify(forged) == NOT_OURS, before
