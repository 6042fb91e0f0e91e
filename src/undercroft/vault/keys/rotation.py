"""Rotates and destroys keys while the service runs.

A rotation of a tenant's key wraps the tenant's data keys anew, batch by batch; what they encrypt stays as it is. One of
the provider's key does the same with the tenants' keys and the keys that sign their logs. Each can be interrupted at
any moment and run again: what is done stays done.
"""

import os
from collections.abc import AsyncIterator, Callable
from typing import Final
from uuid import UUID

from undercroft.kit.crypto.aead import KEY_BYTES, seal
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database, Scope
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.models import LogScope
from undercroft.vault.keys.repository import RotationRepository
from undercroft.vault.keys.service import KeyRing, data_key_context, tenant_key_context

_BATCH: Final = 500
_TENANTS: Final = 500

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


class KeyRotation:
    """Rotates and destroys the keys of tenants, and moves them to another key of the provider's.

    Args:
        database: Where the keys are.
        provider: Wraps the tenants' keys.
        log_keys: The keys that sign the tenants' logs.
        ids: Names keys.
        entropy: Returns that many random bytes.
    """

    def __init__(
        self,
        database: Database,
        provider: KeyProvider,
        log_keys: LogKeys,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._provider = provider
        self._log_keys = log_keys
        self._ids = ids
        self._entropy = entropy
        self._keys = KeyRing(provider, ids, entropy)
        self._repository = RotationRepository()

    async def rotate_tenant(self, tenant_id: UUID, progress: Progress) -> None:
        """Give a tenant another key, wrap all its data keys with that, and destroy the one before.

        A rotation that was interrupted is finished instead of begun again.

        Raises:
            NotFoundError: When the tenant has no key: it never kept anything, or its key was destroyed.
        """
        scope = LogScope(tenant_id)
        async with self._database.transaction(scope) as transaction:
            total = await self._repository.count_stale_data_keys(transaction)
        if total == 0:
            await self._replace(scope)
            async with self._database.transaction(scope) as transaction:
                total = await self._repository.count_stale_data_keys(transaction)
        done = 0
        while count := await self._rewrap_some(scope):
            done += count
            progress(done, max(done, total))
        async with self._database.transaction(scope) as transaction:
            await self._repository.destroy_unused_tenant_keys(transaction)

    async def rotate_provider(self, progress: Progress) -> None:
        """Wrap with the provider's current key whatever an earlier one still wraps, in every tenant."""
        tenants = [tenant_id async for tenant_id in self._list_tenants()]
        for done, tenant_id in enumerate(tenants, 1):
            await self._rewrap_tenant(tenant_id)
            await self._log_keys.rewrap(tenant_id)
            progress(done, len(tenants))

    async def needs_former_keys(self) -> bool:
        """Whether anything is still wrapped with a key of the provider's that is not the current one."""
        async for tenant_id in self._list_tenants():
            async with self._database.transaction(LogScope(tenant_id)) as transaction:
                keys = await self._repository.list_tenant_keys(transaction)
            wrapped = [key.wrapped for key in keys if key.wrapped is not None]
            wrapped += await self._log_keys.list_wrapped(tenant_id)
            if not all(self._provider.is_current(one) for one in wrapped):
                return True
        return False

    async def destroy_tenant(self, tenant_id: UUID) -> None:
        """Destroy a tenant's keys, and the index of what they encrypted with them. Nobody can undo this.

        Raises:
            NotFoundError: When the tenant has no key that could be destroyed.
        """
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            await self._repository.lock_tenant_keys(transaction)
            if not await self._repository.destroy_tenant_keys(transaction):
                raise NotFoundError("key of tenant", tenant_id.hex)

    async def _replace(self, scope: Scope) -> None:
        key_id = self._ids.new()
        wrapped = await self._provider.wrap(
            self._entropy(KEY_BYTES), tenant_key_context(scope.tenant_id, key_id)
        )
        async with self._database.transaction(scope) as transaction:
            await self._repository.lock_tenant_keys(transaction)
            found = await self._repository.lock_current_tenant_key(transaction)
            if found is None or found[0].wrapped is None:
                raise NotFoundError("key of tenant", scope.tenant_id.hex)
            current, number = found
            await self._repository.replace_tenant_key(
                transaction, current.id, key_id, number + 1, wrapped
            )

    async def _rewrap_some(self, scope: Scope) -> int:
        async with self._database.transaction(scope) as transaction:
            stale = await self._repository.list_stale_data_keys(transaction, _BATCH)
            if not stale:
                return 0
            found = await self._repository.lock_current_tenant_key(transaction)
            if found is None:
                raise NotFoundError("key of tenant", scope.tenant_id.hex)
            current, _ = found
            material = await self._keys.open_tenant_key(current)
            renewed: dict[UUID, bytes] = {}
            for wrapped in stale:
                key = await self._keys.unwrap(wrapped)
                place = data_key_context(scope.tenant_id, key.id)
                renewed[key.id] = seal(material, key.material, place)
            await self._repository.rewrap_data_keys(transaction, current.id, renewed)
        return len(stale)

    async def _rewrap_tenant(self, tenant_id: UUID) -> None:
        scope = LogScope(tenant_id)
        async with self._database.transaction(scope) as transaction:
            keys = await self._repository.list_tenant_keys(transaction)
        for key in keys:
            if key.wrapped is None or self._provider.is_current(key.wrapped):
                continue
            context = tenant_key_context(tenant_id, key.id)
            renewed = await self._provider.wrap(
                await self._provider.unwrap(key.wrapped, context), context
            )
            async with self._database.transaction(scope) as transaction:
                await self._repository.rewrap_tenant_key(transaction, key.id, key.wrapped, renewed)

    async def _list_tenants(self) -> AsyncIterator[UUID]:
        last = UUID(int=0)
        while True:
            async with self._database.transaction_without_scope() as transaction:
                page = await self._repository.list_tenants(transaction, last, _TENANTS)
            for tenant_id in page:
                yield tenant_id
            if len(page) < _TENANTS:
                return
            last = page[-1]
