"""What a notice promised to be erased is erased when consent ends, unless a hold keeps it or consent is given again."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import MakeScope
from tests.documents import make_documents
from tests.records import ANN, PERSON
from tests.sharing.consents.conftest import ERASING, TERMS, Practice, open_practice
from tests.stepping import until_blocked
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.consents.models import Erasure
from undercroft.sharing.models import Resource, ResourceKind
from undercroft.vault.holds import LegalHolds
from undercroft.vault.promised import PromisedErasure
from undercroft.vault.service import DocumentService


@pytest.fixture
async def practice(database: Database, tmp_path: Path, make_scope: MakeScope) -> Practice:
    return await open_practice(database, tmp_path, make_scope)


@pytest.fixture
def documents(practice: Practice, tmp_path: Path) -> DocumentService:
    return make_documents(practice.database, tmp_path, practice.cabinet.keys)


@pytest.fixture
def promised(practice: Practice, documents: DocumentService) -> PromisedErasure:
    cabinet = practice.cabinet
    return PromisedErasure(practice.database, documents._blobs, cabinet.storage, cabinet.ledger)


async def put(practice: Practice, documents: DocumentService) -> Resource:
    """A document of Ann's about Bob, with bytes."""
    content = io.BytesIO(b"What was found.")
    made = await documents.import_file(practice.ann, content, "findings.txt", "user_data")
    document = Resource(ResourceKind.DOCUMENT, made.id)
    await practice.subjects.mark(practice.ann, document, practice.bob.email)
    return document


async def count_files(folder: Path) -> int:
    """How many contents are kept."""
    return sum(path.is_file() for path in (folder / "blobs").rglob("*"))


async def test_withdrawal_erases_the_document_its_keys_and_its_bytes(
    practice: Practice, documents: DocumentService, promised: PromisedErasure, tmp_path: Path
) -> None:
    document = await put(practice, documents)
    given = await practice.agree(document, practice.bob, ERASING)
    assert given.consent.erasure is Erasure.PROMISED
    assert given.consent.retain_until is not None
    assert await promised.erase() == 0
    withdrawn = await practice.consents.withdraw(practice.bob, given.consent.id)
    assert withdrawn.consent.erasure is Erasure.PENDING
    assert withdrawn.consent.retain_until is None
    assert await promised.erase() == 1
    seen = (await practice.consents.get(practice.bob, given.consent.id)).consent
    assert seen.erasure is Erasure.DONE
    assert await practice.cabinet.count(practice.ann, "documents") == 0
    assert await practice.cabinet.count(practice.ann, "data_keys") == 2  # notice and look-up
    assert await count_files(tmp_path) == 0
    assert "document.delete" in await practice.actions()
    assert await promised.erase() == 0


async def test_nothing_is_erased_that_was_not_promised(
    practice: Practice, documents: DocumentService, promised: PromisedErasure
) -> None:
    document = await put(practice, documents)
    given = await practice.agree(document, practice.bob, TERMS)
    await practice.consents.withdraw(practice.bob, given.consent.id)
    assert await promised.erase() == 0
    assert await practice.cabinet.count(practice.ann, "documents") == 1


async def test_a_record_is_erased_as_well(practice: Practice, promised: PromisedErasure) -> None:
    schema = await practice.cabinet.schemas.create(
        practice.ann, "patient", replace(PERSON, personal_fields=("/health",))
    )
    record = await practice.cabinet.records.create(practice.ann, schema.id, ANN)
    resource = Resource(ResourceKind.RECORD, record.id)
    await practice.subjects.mark(practice.ann, resource, practice.bob.email)
    given = await practice.agree(resource, practice.bob, ERASING)
    await practice.consents.withdraw(practice.bob, given.consent.id)
    assert await promised.erase() == 1
    assert await practice.cabinet.count(practice.ann, "records") == 0


async def test_a_legal_hold_is_stronger_while_it_lasts(
    practice: Practice, documents: DocumentService, promised: PromisedErasure
) -> None:
    document = await put(practice, documents)
    given = await practice.agree(document, practice.bob, ERASING)
    holds = LegalHolds(practice.database, practice.cabinet.ledger)
    await holds.place(practice.ann, document.id, "litigation-42")
    await practice.consents.withdraw(practice.bob, given.consent.id)
    assert await promised.erase() == 0
    await holds.lift(practice.ann, document.id)
    assert await promised.erase() == 1


async def test_the_end_of_retention_erases_after_consent_has_expired(
    practice: Practice, documents: DocumentService, promised: PromisedErasure
) -> None:
    document = await put(practice, documents)
    given = await practice.agree(document, practice.bob, ERASING)
    await practice.expire(given.consent.id)
    await practice.consents.expire()
    assert await promised.erase() == 0
    await practice.execute("UPDATE consents SET retain_until = now() - interval '1 second'")
    await practice.consents.expire()
    assert await promised.erase() == 1


async def test_who_agrees_again_in_time_keeps_it(
    practice: Practice, documents: DocumentService, promised: PromisedErasure
) -> None:
    document = await put(practice, documents)
    given = await practice.agree(document, practice.bob, ERASING)
    await practice.expire(given.consent.id)
    await practice.execute("UPDATE consents SET retain_until = now() - interval '1 second'")
    await practice.consents.expire()
    await practice.consents.expire()
    seen = (await practice.consents.get(practice.bob, given.consent.id)).consent
    assert seen.erasure is Erasure.PENDING
    [due] = await promised._due.list_due()
    await practice.consents.renew(practice.bob, given.consent.id, 1)
    assert not await promised._erase(due)
    assert await practice.cabinet.count(practice.ann, "documents") == 1


async def test_of_agreeing_again_and_erasing_at_once_the_second_sees_the_first(
    practice: Practice, documents: DocumentService, promised: PromisedErasure
) -> None:
    document = await put(practice, documents)
    given = await practice.agree(document, practice.bob, ERASING)
    await practice.expire(given.consent.id)
    await practice.execute(
        "UPDATE consents SET state = 'expired', ended_at = now(), erase_after = now()"
    )
    [due] = await promised._due.list_due()
    async with practice.database.transaction(practice.bob) as agreeing:
        await agreeing.execute("SELECT FROM consents WHERE id = $1 FOR UPDATE", given.consent.id)
        await agreeing.execute(
            "UPDATE consents SET state = 'given', ended_at = NULL, erase_after = NULL"
        )
        erasing = asyncio.create_task(promised._erase(due))
        await until_blocked(practice.database)
    assert not await erasing
    await practice.execute(
        "UPDATE consents SET state = 'expired', ended_at = now(), erase_after = now()"
    )
    async with practice.database.transaction(due) as transaction:
        assert await promised._due.is_due(transaction, due)
        renewing = asyncio.create_task(practice.consents.renew(practice.bob, given.consent.id, 1))
        await until_blocked(practice.database)
        await transaction.execute("DELETE FROM documents WHERE id = $1", document.id)
    with pytest.raises(NotFoundError):
        await renewing
