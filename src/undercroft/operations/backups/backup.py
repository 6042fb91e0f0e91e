"""Writes a backup while the service runs.

All rows are of one snapshot; the ciphertexts are copied after them, as they are. What is erased meanwhile may lose its
file before its turn: then a second look finds no row of it either, and it is noted as erased. A file that is missing
although its row is still there stops the backup.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.identity.tenants import each_tenant
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.crypto.segments import ciphertext_length
from undercroft.kit.database import Database, Transaction, set_scope
from undercroft.ledger.leaves import render_time
from undercroft.ledger.models import LogScope
from undercroft.operations.archives import ArchiveWriter, FileWriter, Written, open_archive
from undercroft.operations.backups.manifest import (
    HEAD,
    MANIFEST,
    SEAL,
    Erased,
    Head,
    LedgerHead,
    Manifest,
    seal_manifest,
)
from undercroft.operations.backups.repository import BackupRepository
from undercroft.operations.backups.tables import Table, list_tables
from undercroft.operations.errors import OperationError
from undercroft.operations.progress import Progress
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.errors import BlobMissingError

COPY_SECONDS: Final = 86_400.0
"""The longest that one table of one tenant may take."""
_PAGE: Final = 500
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What was written."""

    tenants: int
    blobs: int
    blob_bytes: int
    row_bytes: int
    erased: int


class Backup:
    """Backs a service's database and blobs up.

    Args:
        database: At least two connections: one holds the snapshot. No statement of it may be cut short.
        store: Where the blobs are.
        provider: Seals the manifest.
        clock: Dates it.
        progress: Told what is done.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        provider: KeyProvider,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._database = database
        self._store = store
        self._provider = provider
        self._clock = clock
        self._progress = progress
        self._repository = BackupRepository()

    async def write(self, target: Path) -> BackupSummary:
        """Write a backup: a tar file if the path ends in ``.tar``, else a folder.

        Raises:
            OperationError: When there is something at the path, or a blob is missing or damaged.
            KeyUnavailableError: When the key provider does not answer.
            OSError: When it cannot be written.
        """
        with open_archive(target) as archive:
            return await self._write(archive)

    async def _write(self, archive: ArchiveWriter) -> BackupSummary:
        async with self._database.snapshot() as snapshot:
            tables = await list_tables(snapshot)
            files = [await self._write_head(archive, snapshot, tables)]
            tenants = [tenant_id async for tenant_id in each_tenant(snapshot)]
            for number, table in enumerate(tables, 1):
                path = f"rows/{number:04}_{table.name}.copy"
                files.append(await self._write_rows(archive, snapshot, path, table, tenants))
            self._progress(f"rows of {len(tables)} tables")
            copied = _Copied([], 0, 0)
            ledgers: list[LedgerHead] = []
            for tenant_id in tenants:
                await set_scope(snapshot, LogScope(tenant_id))
                ledgers.append(await self._read_ledger(snapshot, tenant_id))
                await self._write_blobs(archive, snapshot, tenant_id, copied)
        manifest = Manifest(files, copied.files, copied.size, copied.erased, ledgers).to_bytes()
        await _write_whole(archive, MANIFEST, manifest)
        await _write_whole(archive, SEAL, await seal_manifest(self._provider, manifest))
        rows = sum(file.size for file in files)
        return BackupSummary(len(tenants), copied.files, copied.size, rows, len(copied.erased))

    async def _write_head(
        self, archive: ArchiveWriter, snapshot: Transaction, tables: Sequence[Table]
    ) -> Written:
        migrations = await self._repository.list_applied_migrations(snapshot)
        head = Head(
            render_time(self._clock.now()),
            [migrations[version] for version in sorted(migrations)],
            {table.name: table.columns for table in tables},
        )
        return await _write_whole(archive, HEAD, head.to_bytes())

    async def _write_rows(
        self,
        archive: ArchiveWriter,
        snapshot: Transaction,
        path: str,
        table: Table,
        tenants: list[UUID],
    ) -> Written:
        """All tenants' rows in PostgreSQL's text format, of which several copies make one."""
        file = archive.begin(path)
        sink = _Sink(file)
        for tenant_id in tenants:
            await set_scope(snapshot, LogScope(tenant_id))
            await snapshot.copy_from_table(
                table.name, output=sink, columns=table.columns, timeout=COPY_SECONDS
            )
        await sink.flush()
        return await asyncio.to_thread(archive.end, file)

    async def _read_ledger(self, snapshot: Transaction, tenant_id: UUID) -> LedgerHead:
        row = await self._repository.find_log(snapshot)
        if row is None:
            raise OperationError(f"Tenant {tenant_id.hex} has no log: run `undercroft fsck`.")
        return LedgerHead(tenant_id.hex, row["id"].hex, row["size"], row["checkpoint"])

    async def _write_blobs(
        self, archive: ArchiveWriter, snapshot: Transaction, tenant_id: UUID, copied: "_Copied"
    ) -> None:
        last = UUID(int=0)
        while page := await self._repository.list_blobs(snapshot, last, _PAGE):
            for blob in page:
                await self._write_blob(archive, tenant_id, blob, copied)
            last = page[-1]["id"]
            self._progress(f"{copied.files} blobs, {copied.size:,} bytes")

    async def _write_blob(
        self, archive: ArchiveWriter, tenant_id: UUID, blob: Record, copied: "_Copied"
    ) -> None:
        name: bytes = blob["stored_name"]
        file = archive.begin(blob_path(tenant_id, name))
        try:
            await self._copy(file, tenant_id, name, ciphertext_length(blob["byte_size"]))
        except BlobMissingError:
            await asyncio.to_thread(archive.discard, file)
            if await self._is_kept(tenant_id, blob["id"]):
                raise _damaged(tenant_id, blob, "is missing from the blob store") from None
            copied.erased.append(Erased(tenant_id.hex, blob["id"].hex))
            return
        written = await asyncio.to_thread(archive.end, file)
        if written.sha256 != name.hex():
            raise _damaged(tenant_id, blob, "is not what was kept")
        copied.files += 1
        copied.size += written.size

    async def _copy(self, file: FileWriter, tenant_id: UUID, name: bytes, size: int) -> None:
        position = 0
        while position < size:
            length = min(size - position, _PIECE)
            piece = await self._store.read(tenant_id, name, position, length)
            if not piece:
                return
            await asyncio.to_thread(file.write, piece)
            position += len(piece)

    async def _is_kept(self, tenant_id: UUID, blob_id: UUID) -> bool:
        """The second look: whether it is there now, not at the time of the snapshot."""
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            return await self._repository.blob_exists(transaction, blob_id)


def blob_path(tenant_id: UUID, name: bytes) -> str:
    """Where a blob is in a backup."""
    return f"blobs/{tenant_id.hex}/{name[:1].hex()}/{name.hex()}"


@dataclass(slots=True)
class _Copied:
    erased: list[Erased]
    files: int
    size: int


class _Sink:
    """What COPY writes to: gathers its small blocks, and writes them off the event loop."""

    def __init__(self, file: FileWriter) -> None:
        self._file = file
        self._waiting = bytearray()

    async def __call__(self, block: bytes) -> None:
        self._waiting += block
        if len(self._waiting) >= _PIECE:
            await self.flush()

    async def flush(self) -> None:
        await asyncio.to_thread(self._file.write, bytes(self._waiting))
        self._waiting.clear()


async def _write_whole(archive: ArchiveWriter, path: str, data: bytes) -> Written:
    file = archive.begin(path)
    await asyncio.to_thread(file.write, data)
    return await asyncio.to_thread(archive.end, file)


def _damaged(tenant_id: UUID, blob: Record, what: str) -> OperationError:
    return OperationError(
        f"The file {blob['stored_name'].hex()} of content {blob['id']} of tenant {tenant_id.hex} {what}. "
        "Run `undercroft fsck`; restore it, or delete its document, before the next backup."
    )
