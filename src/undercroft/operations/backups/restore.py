"""Restores a backup into an empty installation, and proves it before it is there for anybody.

Everything in the database is one transaction: an interrupted or refused restore leaves it empty. Ciphertexts are put
into the store before that commits; of an interrupted restore they may stay, and the same backup finds them there.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from undercroft.identity.models import UserScope
from undercroft.identity.tenants import each_tenant
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.protocol import KeyMissingError, KeyProvider
from undercroft.kit.crypto.segments import plaintext_length
from undercroft.kit.database import Database, Transaction, set_scope
from undercroft.kit.ids import IdSource
from undercroft.ledger.models import LogScope
from undercroft.operations.archives import Written
from undercroft.operations.backups.backup import COPY_SECONDS
from undercroft.operations.backups.manifest import HEAD, Head, Manifest, check_seal
from undercroft.operations.backups.reading import HashedMember, Member, open_backup, read_contents
from undercroft.operations.backups.repository import BackupRepository
from undercroft.operations.backups.tables import close_tables, list_tables, open_tables
from undercroft.operations.errors import OperationError
from undercroft.operations.examination.examiner import Examiner
from undercroft.operations.examination.findings import Fault, Findings
from undercroft.operations.progress import Progress
from undercroft.retrieval.index.service import IndexService
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.blobs.protocol import BlobStore

_PAGE: Final = 500
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What was restored and proved.

    Attributes:
        entries: Entries of ledgers, derived again up to signed checkpoints.
        queued: Contents that will be indexed again.
        erased: Documents that were being erased while the backup ran, and are left out.
    """

    tenants: int
    blobs: int
    entries: int
    queued: int
    erased: int


class RestoreRefusedError(OperationError):
    """What a backup holds does not prove itself; the findings say what is wrong."""

    def __init__(self, findings: Findings) -> None:
        first = "\n".join(f"  {finding.to_text()}" for finding in findings.first)
        super().__init__(
            f"The backup does not prove itself ({findings.total} findings), and nothing was restored:\n{first}"
        )


class Restore:
    """Restores a backup.

    Args:
        database: The owner's login: at least one connection. No statement of it may be cut short.
        store: An empty store for the blobs.
        staging: A folder on the store's file system.
        provider: Has the key that the backup was made with.
        index: Has contents indexed again.
        examiner: Proves what was restored.
        ids: Names files.
        progress: Told what is done.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        staging: Path,
        provider: KeyProvider,
        index: IndexService,
        examiner: Examiner,
        ids: IdSource,
        progress: Progress,
    ) -> None:
        self._database = database
        self._store = store
        self._staging = staging
        self._provider = provider
        self._index = index
        self._examiner = examiner
        self._ids = ids
        self._progress = progress
        self._repository = BackupRepository()

    async def run(self, source: Path) -> RestoreSummary:
        """Restore what is at a path.

        Raises:
            OperationError: When the backup is damaged or does not prove itself, is of another schema or key, or the
                installation is not empty. The database is as it was then.
            OSError: When the backup cannot be read.
        """
        manifest = await self._check(source)
        self._progress("the backup is whole")
        async with self._database.transaction_without_scope() as transaction:
            await open_tables(transaction)
            filled = await self._repository.find_filled_table(transaction)
            if filled is not None:
                raise OperationError(
                    f"This database is not empty: it has rows in {filled}. Restore into a new, migrated one."
                )
            blobs = await self._load(source, transaction, manifest)
            await self._repository.renumber_pending_entries(transaction)
            await close_tables(transaction)
            return await self._finish(transaction, manifest, blobs)

    async def _check(self, source: Path) -> Manifest:
        contents = await asyncio.to_thread(read_contents, source)
        try:
            fits = await check_seal(self._provider, contents.manifest, contents.seal)
        except DecryptionError:
            fits = False
        except KeyMissingError as error:
            raise OperationError(
                f"The backup was made with another key: {error.message} Nothing was restored."
            ) from error
        if not fits:
            raise OperationError("The manifest is not the one that was sealed: it was altered.")
        # What a stranger wrote is not read any further: only what a backup wrote has a seal.
        manifest = Manifest.from_bytes(contents.manifest)
        contents.compare(manifest)
        return manifest

    async def _load(self, source: Path, transaction: Transaction, manifest: Manifest) -> int:
        """Put everything in its place. It is read a second time, and whoever can write to it may have done so since."""
        expected = {line.path: line for line in manifest.files}
        blobs, is_store_checked = 0, False
        columns: dict[str, list[str]] = {}
        with open_backup(source) as members:
            while (member := await asyncio.to_thread(next, members, None)) is not None:
                if member.path == HEAD:
                    head = await asyncio.to_thread(member.read_whole)
                    _require(Written.of(member.path, head), expected)
                    columns = await self._check_head(transaction, head)
                    continue
                if (table := member.table) is not None:
                    hashed = HashedMember(member)
                    await transaction.copy_to_table(
                        table,
                        source=_Source(hashed),
                        columns=columns[table],
                        timeout=COPY_SECONDS,
                    )
                    _require(hashed.written(), expected)
                    self._progress(f"rows of {table}")
                    continue
                if not is_store_checked:
                    # All rows are there by now, and none of the backup's blobs.
                    await self._check_store(transaction)
                    is_store_checked = True
                if (blob := member.blob) is not None:
                    await self._keep(member, UUID(hex=blob[0]), bytes.fromhex(blob[1]))
                    blobs += 1
                    if blobs % _PAGE == 0:
                        self._progress(f"{blobs} blobs")
        if expected:
            raise _changed(min(expected))
        return blobs

    async def _check_head(self, transaction: Transaction, data: bytes) -> dict[str, list[str]]:
        head = Head.from_bytes(data)
        applied = await self._repository.list_applied_migrations(transaction)
        if [applied[version] for version in sorted(applied)] != head.migrations:
            raise OperationError(
                f"The backup is of a database at migration {len(head.migrations)}, this one is at {len(applied)}, "
                "or their migrations differ. Restore with the Undercroft that wrote it, then upgrade."
            )
        ours = {table.name: list(table.columns) for table in await list_tables(transaction)}
        if ours != head.tables:
            raise OperationError("The backup has other tables or columns than this database.")
        return ours

    async def _keep(self, member: Member, tenant_id: UUID, name: bytes) -> None:
        path = self._staging / self._ids.new().hex
        try:
            await asyncio.to_thread(_unpack, member, path)
            staged = StagedBlob(path, name, b"", plaintext_length(member.size))
            await self._store.keep(staged, tenant_id)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _check_store(self, transaction: Transaction) -> None:
        async for kept in self._store.list_files():
            if not await self._repository.has_stored_name(transaction, kept.tenant_id, kept.name):
                raise OperationError(
                    f"The blob store is not empty: it has {kept.name.hex()} of tenant {kept.tenant_id.hex}, which is "
                    "not in this backup. Restore into an empty one."
                )

    async def _finish(
        self, transaction: Transaction, manifest: Manifest, blobs: int
    ) -> RestoreSummary:
        findings = Findings()
        entries = queued = erased = 0
        heads = {head.tenant: head for head in manifest.ledgers}
        tenants = [tenant_id async for tenant_id in each_tenant(transaction)]
        for tenant_id in tenants:
            scope = LogScope(tenant_id)
            await set_scope(transaction, scope)
            gone = manifest.erased_of(tenant_id)
            if gone:
                erased += await self._repository.delete_erased(transaction, gone)
            await self._repository.forget_index(transaction)
            await self._repository.forget_uploads(transaction)
            await self._repository.count_usage(transaction)
            examined = await self._examiner.examine(
                transaction, tenant_id, findings, look_again=_still_there, with_index=False
            )
            entries += examined.size
            head = heads.pop(tenant_id.hex, None)
            if head is None or (head.log, head.size, head.checkpoint) != (
                examined.log_id.hex,
                examined.size,
                examined.checkpoint,
            ):
                findings.add(
                    Fault.LEDGER_HEAD_WRONG, tenant_id, "log", "is not that of the manifest"
                )
            self._progress(f"proved tenant {tenant_id.hex}: {examined.size} entries")
        if heads:
            raise OperationError(f"The rows of tenant {min(heads)} are missing from the backup.")
        if findings.total:
            raise RestoreRefusedError(findings)
        for tenant_id in tenants:
            queued += await self._queue(transaction, tenant_id)
        return RestoreSummary(len(tenants), blobs, entries, queued, erased)

    async def _queue(self, transaction: Transaction, tenant_id: UUID) -> int:
        """Have what is in a collection indexed again."""
        await set_scope(transaction, LogScope(tenant_id))
        last, queued = UUID(int=0), 0
        while page := await self._repository.list_unindexed_members(transaction, last, _PAGE):
            for row in page:
                scope = UserScope(tenant_id, row["owner_id"])
                await set_scope(transaction, scope)
                await self._index.request(transaction, scope, row["blob_id"])
            queued, last = queued + len(page), page[-1]["blob_id"]
        return queued


async def _still_there(tenant_id: UUID, blob_id: UUID) -> bool:
    """In a transaction that nobody else has seen, what was read is there."""
    del tenant_id, blob_id
    return True


class _Source:
    """What COPY reads from."""

    def __init__(self, member: HashedMember) -> None:
        self._member = member

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(self._member.read, _PIECE)
        if not piece:
            raise StopAsyncIteration
        return piece


def _require(read: Written, expected: dict[str, Written]) -> None:
    """Take a file off the list of those that the manifest has.

    Raises:
        OperationError: When it is not as it is there.
    """
    if expected.pop(read.path, None) != read:
        raise _changed(read.path)


def _changed(path: str) -> OperationError:
    return OperationError(f"{path} was changed while it was restored. Nothing was restored.")


def _unpack(member: Member, path: Path) -> None:
    with path.open("xb") as file:
        while piece := member.read(_PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
