"""Destroys a tenant's keys: the keys and the index in one transaction, the bytes that nobody can read after it."""

from typing import Final
from uuid import UUID

import asyncpg

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, LogScope, OperatorScope
from undercroft.ledger.service import Ledger
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.keys.errors import TenantHeldError
from undercroft.vault.keys.repository import RotationRepository
from undercroft.vault.keys.rotation import Progress

_BATCH: Final = 2000
"""Rows in one statement: a small part of the time that a statement may take."""
_FIRST: Final = UUID(int=0)


class TenantDestruction:
    """Destroys the keys of tenants. Nobody can undo this.

    Args:
        database: Where the keys are.
        blobs: Where the bytes are.
        ledger: Keeps a destruction on record, as the operator's.
    """

    def __init__(self, database: Database, blobs: BlobStore, ledger: Ledger) -> None:
        self._database = database
        self._blobs = blobs
        self._ledger = ledger
        self._repository = RotationRepository()

    async def destroy(self, tenant_id: UUID, progress: Progress) -> None:
        """Destroy a tenant's keys and the index of what they encrypted, then delete the bytes.

        What was interrupted after the keys were destroyed is finished when it is run again.

        Args:
            tenant_id: The tenant.
            progress: Told how many passages are deleted of how many.

        Raises:
            NotFoundError: When the tenant never had a key: it never kept anything.
            TenantHeldError: When documents of the tenant are under legal hold.
        """
        scope = LogScope(tenant_id)
        async with self._database.transaction(scope) as transaction:
            await self._destroy_keys(transaction, scope, progress)
        await self._delete_files(scope)

    async def _destroy_keys(
        self, transaction: Transaction, scope: Scope, progress: Progress
    ) -> None:
        """In the order in which everybody locks: the tenant's keys, contents, records, chunks and their statistics."""
        await self._repository.lock_tenant_keys(transaction)
        await self._repository.lock_all_tenant_keys(transaction)
        blob: UUID | None = _FIRST
        while blob is not None:
            blob = await self._repository.lock_blobs(transaction, blob, _BATCH)
        # Before the keys: what is left then, the database empties in one statement (delete_tenant_record_index).
        record: UUID | None = _FIRST
        while record is not None:
            record = await self._repository.empty_records(transaction, record, _BATCH)
        total = await self._repository.count_chunks(transaction)
        try:
            destroyed = await self._repository.destroy_tenant_keys(transaction)
        except asyncpg.RestrictViolationError as error:
            raise TenantHeldError from error
        if not destroyed:
            if await self._repository.count_tenant_keys(transaction):
                return
            raise NotFoundError("key of tenant", scope.tenant_id.hex)
        done, chunk = 0, await self._repository.delete_index_batch(transaction, 0, _BATCH)
        while chunk is not None:
            done = min(done + _BATCH, total)
            progress(done, total)
            chunk = await self._repository.delete_index_batch(transaction, chunk, _BATCH)
        tenant = await self._ledger.tenant(transaction, scope.tenant_id)
        act = Act("tenant_key.destroy", tenant, None)
        await self._ledger.append(transaction, OperatorScope(scope.tenant_id), act)

    async def _delete_files(self, scope: Scope) -> None:
        """Of contents whose rows stay until their documents are deleted, and open with no key."""
        last = _FIRST
        while True:
            async with self._database.transaction(scope) as transaction:
                page = await self._repository.list_destroyed_blobs(transaction, last, _BATCH)
            for _, name in page:
                await self._blobs.delete(scope.tenant_id, name)
            if len(page) < _BATCH:
                return
            last = page[-1][0]
