"""Repairs what an examination found and what can be derived again. Nothing else is touched."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from undercroft.identity.models import UserScope
from undercroft.kit.database import Database, set_scope
from undercroft.ledger.merkle import grow
from undercroft.ledger.models import LogScope
from undercroft.operations.examination.examiner import Examined
from undercroft.operations.examination.fsck import Examination, Fsck
from undercroft.operations.repairs.repository import RepairRepository
from undercroft.retrieval.index.service import IndexService
from undercroft.vault.blobs.protocol import BlobStore

_PAGE: Final = 1024

Tell = Callable[[str], None]
"""Told what was mended, or could not be."""


class Repair:
    """Mends what an examination found.

    Args:
        database: The service's login.
        owner: The owner's, for what the service has no right to change; None when it is not known.
        store: Where the blobs are.
        index: Has contents indexed again.
        fsck: Looks once more before a file is deleted.
        tell: Told what was mended.
    """

    def __init__(
        self,
        database: Database,
        owner: Database | None,
        store: BlobStore,
        index: IndexService,
        fsck: Fsck,
        tell: Tell,
    ) -> None:
        self._database = database
        self._owner = owner
        self._store = store
        self._index = index
        self._fsck = fsck
        self._tell = tell
        self._repository = RepairRepository()

    async def run(self, examination: Examination) -> None:
        """Mend what can be mended."""
        for kept in examination.orphans:
            # What belonged to nothing when it was looked at may have been restored by hand since.
            if not await self._fsck.is_kept(kept):
                await self._store.delete(kept.tenant_id, kept.name)
                self._tell(f"deleted file {kept.name.hex()} of tenant {kept.tenant_id.hex}")
        for tenant_id, examined in examination.to_mend.items():
            for blob_id in sorted(examined.to_index):
                await self._index_again(tenant_id, blob_id)
            await self._derive(tenant_id, examined)

    async def _index_again(self, tenant_id: UUID, blob_id: UUID) -> None:
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            if not await self._repository.delete_index(transaction, blob_id):
                return
            owner_id = await self._repository.find_member_owner(transaction, blob_id)
            if owner_id is not None:
                scope = UserScope(tenant_id, owner_id)
                await set_scope(transaction, scope)
                await self._index.request(transaction, scope, blob_id)
        done = "had its passages deleted" if owner_id is None else "will be indexed again"
        self._tell(f"content {blob_id.hex} of tenant {tenant_id.hex} {done}")

    async def _derive(self, tenant_id: UUID, examined: Examined) -> None:
        if not (examined.tiles_only or examined.statistics_are_wrong):
            return
        if self._owner is None:
            self._tell(
                "statistics and tiles are the owner's to mend: set UNDERCROFT_MIGRATION_URL and run it again"
            )
            return
        async with self._owner.transaction(LogScope(tenant_id)) as transaction:
            if examined.statistics_are_wrong:
                await self._repository.count_again(transaction)
                self._tell(f"counted the words of tenant {tenant_id.hex} again")
        if examined.tiles_only:
            await self._make_tiles(self._owner, tenant_id)
            self._tell(f"derived the tiles of the log of tenant {tenant_id.hex} again")

    async def _make_tiles(self, owner: Database, tenant_id: UUID) -> None:
        async with owner.transaction(LogScope(tenant_id)) as transaction:
            length = await self._repository.lock_log(transaction)
            await self._repository.delete_tiles(transaction)
            size, frontier = 0, tuple[bytes, ...]()
            while size < length:
                leaves = await self._repository.list_leaves(transaction, size, _PAGE)
                growth = grow(size, frontier, leaves)
                size, frontier = growth.size, growth.frontier
                await self._repository.insert_tiles(transaction, growth.stored)
                if not leaves:
                    raise RuntimeError(f"entry {size} of the log of tenant {tenant_id.hex} is gone")
