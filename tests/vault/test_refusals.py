"""Whatever keeps somebody from a document or a record is on record: another's, stale, locked, held, in use."""

from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.conftest import MakeScope, Member
from tests.documents import make_documents, make_trash
from tests.records import Cabinet, changed, open_cabinet
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.vault.errors import LegalHoldError, StaleDocumentError
from undercroft.vault.holds import LegalHolds
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DocumentChanges
from undercroft.vault.records.errors import LockLostError, RecordLockedError
from undercroft.vault.records.models import Precondition
from undercroft.vault.schemas.errors import (
    NotSchemaAdminError,
    SchemaInUseError,
    StaleVersionError,
)
from undercroft.vault.service import DocumentService

STALE = frozenset({99})


@pytest.fixture
async def documents(database: Database, tmp_path: Path) -> DocumentService:
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())
    return make_documents(database, tmp_path, keys)


@pytest.fixture
async def cabinet(database: Database, tmp_path: Path) -> Cabinet:
    return await open_cabinet(database, tmp_path)


async def denied(database: Database, scope: Member) -> list[tuple[str, str]]:
    """What was refused, in its order."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT action, resource FROM ledger_pending WHERE outcome = 'denied' ORDER BY ordinal"
        )
    return [(row["action"], row["resource"]) for row in rows]


async def refused(error: type[UndercroftError], *attempts: Callable[[], Awaitable[object]]) -> None:
    for attempt in attempts:
        with pytest.raises(error):
            await attempt()


async def test_stale_and_held_documents(
    documents: DocumentService, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope(role="admin")
    document = await documents.import_file(ann, BytesIO(b"The mill."), "mill.txt", "user_data")
    trash = make_trash(documents)
    await refused(
        StaleDocumentError,
        lambda: documents.update(ann, document.id, DocumentChanges(name="boat.txt"), STALE),
        lambda: documents.delete(ann, document.id, STALE),
        lambda: trash.put(ann, document.id, STALE),
    )
    await LegalHolds(database, documents._ledger).place(ann, document.id, "litigation")
    await refused(
        LegalHoldError,
        lambda: documents.delete(ann, document.id),
        lambda: trash.put(ann, document.id),
    )
    name = f"file-{document.id.hex}"
    assert await denied(database, ann) == [
        ("document.update", name),
        ("document.delete", name),
        ("document.trash", name),
        ("document.delete", name),
        ("document.trash", name),
    ]


async def test_stale_and_locked_records(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    rename = changed(name="Anna")
    await refused(
        StaleVersionError,
        lambda: cabinet.records.update(ann, record.id, Precondition(STALE), rename),
        lambda: cabinet.records.delete(ann, record.id, Precondition(STALE)),
    )
    await cabinet.locks.acquire(ann, record.id, 60)
    await refused(
        RecordLockedError,
        lambda: cabinet.records.update(ann, record.id, Precondition(None), rename),
        lambda: cabinet.locks.acquire(ann, record.id, 60),
    )
    await refused(LockLostError, lambda: cabinet.locks.release(ann, record.id, "guessed"))
    name = f"rec_{record.id.hex}"
    assert await denied(cabinet.database, ann) == [
        ("record.update", name),
        ("record.delete", name),
        ("record.update", name),
        ("record.lock", name),
        ("record.unlock", name),
    ]


async def test_schemas_that_are_anothers_stale_or_in_use(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    record = await cabinet.ann(ann)
    schema = await cabinet.schemas.get(ann, record.schema_id)
    await refused(
        NotSchemaAdminError,
        lambda: cabinet.schemas.add_version(bob, schema.id, schema.definition),
        lambda: cabinet.schemas.delete(bob, schema.id),
    )
    await refused(
        StaleVersionError,
        lambda: cabinet.schemas.add_version(ann, schema.id, schema.definition, STALE),
    )
    await refused(SchemaInUseError, lambda: cabinet.schemas.delete(ann, schema.id))
    name = f"schema_{schema.id.hex}"
    assert await denied(cabinet.database, ann) == [
        ("schema.update", name),
        ("schema.delete", name),
        ("schema.update", name),
        ("schema.delete", name),
    ]


async def test_a_refusal_in_a_loop_does_not_fill_the_log(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    eve = await make_scope(ann.tenant_id)
    record = await cabinet.ann(ann)
    for _ in range(15):
        await refused(UndercroftError, lambda: cabinet.records.get(eve, record.id))
    assert await denied(cabinet.database, ann) == [("record.read", f"rec_{record.id.hex}")] * 10
