"""Files of the store that no content names: what a crash left between keeping bytes and committing their row."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from undercroft.kit.clock import Clock
from undercroft.kit.database import Database
from undercroft.ledger.models import LogScope
from undercroft.vault.blobs.protocol import BlobStore, KeptFile
from undercroft.vault.repository import DocumentRepository

ORPHANED_AFTER: Final = timedelta(days=1)
"""The age from which a file can be an orphan. That of a file whose row is about to be committed counts from when its
upload began, in S3 as in a folder, and no upload takes this long."""
_BATCH: Final = 500


class OrphanSweep:
    """Deletes old files that no content names. Any number of processes may do it at once.

    A file that is not named now is never named again: its name is the digest of a ciphertext with a random salt, and an
    upload commits its row within the time that files are left alone.

    Args:
        database: Says which files are named.
        blobs: Where the files are.
        clock: Tells their age.
    """

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._repository = DocumentRepository()

    async def sweep(self) -> int:
        """Delete every orphan; how many there were.

        Raises:
            UnavailableError: When the store does not answer; the next sweep goes on.
        """
        oldest = self._clock.now() - ORPHANED_AFTER
        waiting: dict[UUID, list[KeptFile]] = {}
        swept = 0
        async for kept in self._blobs.list_files():
            if kept.modified_at >= oldest:
                continue
            files = waiting.setdefault(kept.tenant_id, [])
            files.append(kept)
            if len(files) == _BATCH:
                swept += await self._sweep(waiting.pop(kept.tenant_id))
        for files in waiting.values():
            swept += await self._sweep(files)
        return swept

    async def _sweep(self, files: list[KeptFile]) -> int:
        tenant_id = files[0].tenant_id
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            names = [file.name for file in files]
            named = await self._repository.list_stored_names(transaction, names)
        orphans = [file for file in files if file.name not in named]
        for orphan in orphans:
            await self._blobs.delete(tenant_id, orphan.name)
        return len(orphans)
