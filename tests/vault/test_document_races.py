"""Two connections on one document, stepped: of two changes one is refused, of a hold and an erasure one comes first."""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.documents import make_documents, make_trash, make_versions
from tests.stepping import Gate, until_blocked
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError, UnavailableError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.models import GrantAction
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.errors import (
    BlobMissingError,
    LegalHoldError,
    StaleDocumentError,
    TrashExpiredError,
)
from undercroft.vault.holds import LegalHolds
from undercroft.vault.keys.destruction import TenantDestruction
from undercroft.vault.keys.errors import KeyDestroyedError, TenantHeldError
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DocumentChanges
from undercroft.vault.orphans import OrphanSweep
from undercroft.vault.repository import DocumentRepository
from undercroft.vault.service import DocumentService
from undercroft.vault.trash import Trash
from undercroft.vault.versions import VersionService

CONTENT = b"The mill has stood empty since 1921."


@pytest.fixture
async def documents(database: Database, tmp_path: Path) -> DocumentService:
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())
    return make_documents(database, tmp_path, keys)


@pytest.fixture
async def observer(database_urls: DatabaseUrls) -> AsyncGenerator[Database]:
    """Looks that never wait for the connections that a test holds."""
    async with Database(database_urls.service, clock=SystemClock(), size=2) as opened:
        yield opened


async def create(documents: DocumentService, scope: Member, content: bytes = CONTENT) -> UUID:
    return (await documents.import_file(scope, io.BytesIO(content), "mill.txt", "user_data")).id


async def add(
    versions: VersionService, scope: Member, document_id: UUID, content: bytes, revision: int
) -> int:
    incoming = await versions._intake.read(scope, io.BytesIO(content))
    try:
        changed = await versions.add(scope, document_id, incoming, "mill.txt", {revision})
    finally:
        await incoming.close()
    return changed.version


def kept_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


async def actions(database: Database, scope: Member) -> list[str]:
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT action FROM ledger_pending ORDER BY xid, ordinal"  # no sequencer runs
        )
    return [row["action"] for row in rows]


async def test_of_two_changes_from_one_revision_the_later_is_refused(
    documents: DocumentService, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    document_id = await create(documents, ann)
    async with documents._database.transaction(ann) as transaction:
        await documents._access.lock(transaction, document_id, {1})
        later = asyncio.create_task(
            documents.update(ann, document_id, DocumentChanges(name="later.txt"), {1})
        )
        await until_blocked(observer)
        await documents._repository.update_document(transaction, document_id, None, None, None)
    with pytest.raises(StaleDocumentError):
        await later
    found = await documents.get(ann, document_id)
    assert (found.filename, found.revision) == ("mill.txt", 2)


async def test_a_change_that_waited_for_a_new_version_finds_the_document(
    documents: DocumentService, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    versions = make_versions(documents)
    document_id = await create(documents, ann)
    async with documents._database.transaction(ann) as transaction:
        document = await documents._access.lock(transaction, document_id, None)
        later = asyncio.create_task(
            documents.update(ann, document_id, DocumentChanges(name="later.txt"), None)
        )
        await until_blocked(observer)
        await versions._advance(transaction, ann, document, document.blob_id, bytes(32))
    changed = await later
    assert (changed.filename, changed.version, changed.revision) == ("later.txt", 2, 3)


async def test_many_versions_from_one_revision_make_one(
    documents: DocumentService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    versions = make_versions(documents)
    document_id = await create(documents, ann)
    results = await asyncio.gather(
        *(add(versions, ann, document_id, f"Number {n}.".encode(), 1) for n in range(6)),
        return_exceptions=True,
    )
    assert [result for result in results if not isinstance(result, BaseException)] == [2]
    assert sum(isinstance(result, StaleDocumentError) for result in results) == 5


async def test_an_erasure_that_waited_for_a_hold_is_refused(
    documents: DocumentService, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    holds = LegalHolds(documents._database, documents._ledger)
    document_id = await create(documents, ann)
    async with documents._database.transaction(ann) as transaction:
        await holds._lock(transaction, document_id)
        erasing = asyncio.create_task(documents.delete(ann, document_id))
        await until_blocked(observer)
        await holds._repository.hold_document(transaction, document_id, "litigation")
    with pytest.raises(LegalHoldError):
        await erasing
    assert (await documents.get(ann, document_id)).hold_reason == "litigation"


@pytest.mark.parametrize(
    "changes", [DocumentChanges(name="other.txt"), DocumentChanges(metadata={})], ids=str
)
async def test_what_a_change_would_forget_is_kept_by_a_hold_that_it_waited_for(
    documents: DocumentService, make_scope: MakeScope, observer: Database, changes: DocumentChanges
) -> None:
    """Versions keep contents; of a name and of metadata there is only the last."""
    ann = await make_scope()
    holds = LegalHolds(documents._database, documents._ledger)
    document_id = await create(documents, ann)
    await documents.update(ann, document_id, DocumentChanges(metadata={"case": "42"}), None)
    async with documents._database.transaction(ann) as transaction:
        await holds._lock(transaction, document_id)
        changing = asyncio.create_task(documents.update(ann, document_id, changes, None))
        await until_blocked(observer)
        await holds._repository.hold_document(transaction, document_id, "litigation")
    with pytest.raises(LegalHoldError):
        await changing
    kept = await documents.get(ann, document_id)
    assert (kept.filename, kept.metadata) == ("mill.txt", {"case": "42"})
    sealed = await documents.update(ann, document_id, DocumentChanges(is_sealed=True), None)
    assert sealed.is_sealed


async def test_a_hold_that_waited_for_an_erasure_finds_no_document(
    documents: DocumentService, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    admin = await make_scope(ann.tenant_id, role="admin")
    holds = LegalHolds(documents._database, documents._ledger)
    document_id = await create(documents, ann)
    async with documents._database.transaction(ann) as transaction:
        await documents._access.lock(transaction, document_id, None)
        holding = asyncio.create_task(holds.place(admin, document_id, "litigation"))
        await until_blocked(observer)
        await documents._erasure.erase(transaction, document_id)
    with pytest.raises(NotFoundError):
        await holding


RENAMED = "UPDATE documents SET sealed_name = '\\x00'"
HELD = {
    "DELETE FROM documents": asyncpg.ObjectInUseError,
    RENAMED: asyncpg.ObjectInUseError,
    "UPDATE documents SET sealed_metadata = '\\x00'": asyncpg.ObjectInUseError,
    "DELETE FROM document_versions": asyncpg.InsufficientPrivilegeError,
    "UPDATE document_versions SET number = 2": asyncpg.InsufficientPrivilegeError,
    "DELETE FROM blobs": asyncpg.ForeignKeyViolationError,
    "DELETE FROM data_keys": asyncpg.ForeignKeyViolationError,
}


async def test_a_held_document_survives_everything(
    documents: DocumentService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    admin = await make_scope(ann.tenant_id, role="admin")
    stranger = await make_scope(role="admin")
    holds, trash = LegalHolds(documents._database, documents._ledger), make_trash(documents)
    document_id = await create(documents, ann)
    with pytest.raises(NotFoundError):
        await holds.place(stranger, document_id, "litigation")
    await holds.place(admin, document_id, "litigation")
    for attempt in (documents.delete, trash.put):
        with pytest.raises(LegalHoldError):
            await attempt(ann, document_id)
    for statement, reason in HELD.items():
        with pytest.raises(reason):
            async with documents._database.transaction(ann) as transaction:
                await transaction.execute(statement)
    await holds.lift(admin, document_id)
    async with documents._database.transaction(ann) as transaction:
        await transaction.execute(RENAMED)
    await documents.delete(ann, document_id)
    recorded = await actions(documents._database, ann)
    refused = ["document.delete", "document.trash"]
    assert recorded[:2] == ["document.create", "document.hold"]
    assert recorded[2:] == [*refused, "document.unhold", "document.delete"]


async def test_the_trash_is_purged_when_its_time_is_over_and_not_what_is_held(
    documents: DocumentService, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann, other = await make_scope(), await make_scope()
    admin = await make_scope(ann.tenant_id, role="admin")
    holds = LegalHolds(documents._database, documents._ledger)
    kept, over = make_trash(documents), make_trash(documents, timedelta(0))
    waiting, old, held = [
        await create(documents, ann, f"Number {number}.".encode()) for number in range(3)
    ]
    others = await create(documents, other)
    await kept.put(ann, waiting)
    for scope, document_id in ((ann, old), (ann, held), (other, others)):
        await over.put(scope, document_id)
    await holds.place(admin, held, "litigation")
    with pytest.raises(TrashExpiredError):
        await over.restore(ann, old)
    assert await asyncio.gather(over.purge(), over.purge()) in ([2, 0], [0, 2], [1, 1])
    assert len(kept_files(tmp_path)) == 2
    left = await documents.list_documents(ann, is_trashed=True, limit=10)
    assert {document.id for document in left} == {waiting, held}
    await holds.lift(admin, held)
    assert await over.purge() == 1
    assert (await actions(documents._database, ann)).count("document.purge") == 2
    assert (await kept.restore(ann, waiting)).deleted_at is None


async def test_a_document_that_was_restored_is_not_purged(
    documents: DocumentService, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    trash = make_trash(documents, timedelta(0))
    document_id = await create(documents, ann)
    await trash.put(ann, document_id)
    async with documents._database.transaction_without_scope() as transaction:
        (expired,) = await trash._repository.list_expired_documents(transaction, 10)
    async with observer.transaction(ann) as transaction:
        await transaction.execute("UPDATE documents SET deleted_at = NULL, purge_at = NULL")
    assert not await trash._purge(expired)
    assert (await documents.get(ann, document_id)).id == document_id


async def test_a_hold_keeps_the_tenants_keys_also_one_that_is_just_placed(
    documents: DocumentService, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    admin = await make_scope(ann.tenant_id, role="admin")
    holds = LegalHolds(documents._database, documents._ledger)
    document_id = await create(documents, ann)
    destruction = TenantDestruction(documents._database, documents._blobs, documents._ledger)
    async with documents._database.transaction(admin) as transaction:
        await holds._repository.lock_tenant_key(transaction)
        await holds._repository.hold_document(transaction, document_id, "litigation")
        destroying = asyncio.create_task(destruction.destroy(ann.tenant_id, lambda _, __: None))
        await until_blocked(observer)
    with pytest.raises(TenantHeldError):
        await destroying
    assert (await documents.get(ann, document_id)).filename == "mill.txt"
    await holds.lift(admin, document_id)
    await destruction.destroy(ann.tenant_id, lambda _, __: None)
    with pytest.raises(KeyDestroyedError):
        await documents.read(ann, document_id)


class GatedStore(LocalBlobStore):
    """A folder from which nothing is read before the gate is open."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = Gate()

    async def read(self, tenant_id: UUID, name: bytes, start: int, length: int) -> bytes:
        await self.gate.pass_through()
        return await super().read(tenant_id, name, start, length)


@pytest.mark.parametrize("with_range", [False, True])
async def test_a_content_that_is_erased_while_it_is_looked_for_is_not_there(
    documents: DocumentService, make_scope: MakeScope, tmp_path: Path, *, with_range: bool
) -> None:
    ann = await make_scope()
    document_id = await create(documents, ann)
    store = GatedStore(tmp_path / "blobs")
    readers = make_documents(documents._database, tmp_path, documents._keys, blobs=store)
    reading = asyncio.ensure_future(
        make_versions(readers).read(ann, document_id, None, lambda _: (0, 1))
        if with_range
        else readers.read(ann, document_id)
    )
    await store.gate.wait_until_reached()
    await documents.delete(ann, document_id)
    store.gate.open()
    with pytest.raises(NotFoundError):
        await reading


async def test_a_missing_content_is_told_as_long_as_its_document_is_there(
    documents: DocumentService, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    document_id = await create(documents, ann)
    (file,) = kept_files(tmp_path)
    file.unlink()
    with pytest.raises(BlobMissingError):
        await documents.read(ann, document_id)
    with pytest.raises(BlobMissingError):
        await make_versions(documents).read(ann, document_id, None, lambda _: (0, 1))


async def test_a_document_that_cannot_be_purged_holds_up_no_other(
    documents: DocumentService, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann, bob = await make_scope(), await make_scope()
    trash = make_trash(documents, timedelta(0))
    for scope in (ann, bob):
        await trash.put(scope, await create(documents, scope))
    async with Database(database_urls.migration, clock=SystemClock()) as owner:
        async with owner.transaction(ann) as transaction:
            await transaction.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
                " AS 'BEGIN RAISE deadlock_detected; END';"
                "CREATE TRIGGER refuse BEFORE DELETE ON documents FOR EACH ROW"
                f" WHEN (old.tenant_id = '{ann.tenant_id}') EXECUTE FUNCTION refuse()"
            )
        assert await trash.purge() == 1
        assert await documents.list_documents(bob, is_trashed=True, limit=10) == []
        async with owner.transaction(ann) as transaction:
            await transaction.execute("DROP FUNCTION refuse() CASCADE")
    assert await trash.purge() == 1


async def test_what_nobody_can_open_is_purged_all_the_same(
    documents: DocumentService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await make_trash(documents, timedelta(0)).put(ann, await create(documents, ann))
    async with documents._database.transaction(ann) as transaction:
        # As of a key file that lacks this tenant's.
        await transaction.execute(
            "UPDATE tenant_keys SET wrapped_key = set_byte(wrapped_key, 0, get_byte(wrapped_key, 0) # 1)"
        )
    keys = KeyRing(documents._keys._provider, IdSource())
    trash = Trash(documents._database, documents._blobs, keys, documents._ledger, timedelta(0))
    assert await trash.purge() == 1


async def test_the_version_that_is_put_on_record_is_the_one_that_is_read(
    documents: DocumentService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    versions = make_versions(documents)
    document_id = await create(documents, ann)

    class Late(DocumentRepository):
        """Adds a version elsewhere once the document was found here."""

        async def find_content(
            self,
            transaction: Transaction,
            document_id: UUID,
            version: int | None,
            actions: Sequence[GrantAction],
        ) -> asyncpg.Record | None:
            await add(versions, ann, document_id, b"Another content, of another length.", 1)
            return await super().find_content(transaction, document_id, version, actions)

    documents._repository = Late()
    document, blocks = await documents.read(ann, document_id)
    content = b"".join([block async for block in blocks])
    assert len(content) == document.byte_size
    assert (content, document.version) == (CONTENT, 1)
    async with documents._database.transaction(ann) as transaction:
        recorded = await transaction.fetchval(
            "SELECT version FROM ledger_pending WHERE action = 'document.read'"
        )
    assert recorded == 1


async def test_an_erasure_is_done_when_it_is_committed(
    documents: DocumentService, make_scope: MakeScope, tmp_path: Path
) -> None:
    class Gone(LocalBlobStore):
        async def delete(self, tenant_id: UUID, name: bytes) -> None:
            raise UnavailableError(f"the bucket with {tenant_id}/{name.hex()} does not answer")

    ann = await make_scope()
    document_id = await create(documents, ann)
    erasing = make_documents(
        documents._database, tmp_path, documents._keys, blobs=Gone(tmp_path / "blobs")
    )
    await erasing.delete(ann, document_id)
    with pytest.raises(NotFoundError):
        await documents.get(ann, document_id)
    (left,) = kept_files(tmp_path)
    two_days_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(left, (two_days_ago, two_days_ago))
    sweep = OrphanSweep(documents._database, documents._blobs, SystemClock())
    assert await sweep.sweep() == 1
