"""Rotates keys while the service runs.

A rotation of a tenant's key wraps the tenant's data keys anew, batch by batch; what they encrypt stays as it is. One of
the provider's key does the same with the tenants' keys and the keys that sign their logs. Each can be interrupted at
any moment and run again: what is done stays done.

Whoever locks several of these rows takes the tenant's key first, then contents and records in the order of their ids,
then chunks, then their statistics. Data keys are locked behind the tenant's key, and waited for one at a time.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from undercroft.identity.tenants import list_tenants
from undercroft.kit.crypto.aead import KEY_BYTES, DecryptionError, seal
from undercroft.kit.crypto.providers.protocol import KeyProvider, is_stale
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.models import Act, LogScope, OperatorScope
from undercroft.ledger.service import Ledger
from undercroft.vault.keys.repository import KeyRepository, RotationRepository
from undercroft.vault.keys.service import KeyRing, data_key_context, tenant_key_context

_BATCH: Final = 500
_FIRST: Final = UUID(int=0)
_NONE: Final[frozenset[UUID]] = frozenset()

_log: Final = structlog.stdlib.get_logger(__name__)

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one transaction wrapped anew. ``last`` is None after the last key."""

    last: UUID | None
    renewed: int
    damaged: frozenset[UUID]


class KeyRotation:
    """Rotates the keys of tenants, and moves them to another key of the provider's.

    Args:
        database: Where the keys are.
        provider: Wraps the tenants' keys.
        log_keys: The keys that sign the tenants' logs.
        ledger: Keeps a rotation of a tenant's key on record, as the operator's.
        ids: Names keys.
        entropy: Returns that many random bytes.
    """

    def __init__(
        self,
        database: Database,
        provider: KeyProvider,
        log_keys: LogKeys,
        ledger: Ledger,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._provider = provider
        self._log_keys = log_keys
        self._ledger = ledger
        self._ids = ids
        self._entropy = entropy
        self._keys = KeyRing(provider, ids, entropy)
        self._repository = RotationRepository()
        self._tenant_keys = KeyRepository()

    async def rotate_tenant(self, tenant_id: UUID, progress: Progress) -> frozenset[UUID]:
        """Give a tenant another key, wrap all its data keys with that, and destroy the one before.

        A rotation that was interrupted is finished instead of begun again. The former key is destroyed once nothing
        uses it.

        Returns:
            The data keys that are damaged: they open with no key, stay as they are, and keep their former key.

        Raises:
            NotFoundError: When the tenant has no key: it never kept anything, or its key was destroyed.
        """
        scope = LogScope(tenant_id)
        finished, damaged = await self._rewrap_all(scope, progress)
        if not finished:
            await self._replace(scope)
            _, damaged = await self._rewrap_all(scope, progress)
        async with self._database.transaction(scope) as transaction:
            await self._repository.destroy_unused_tenant_keys(transaction)
        return damaged

    async def rotate_provider(self, progress: Progress) -> list[str]:
        """Wrap with the provider's current key whatever an earlier one still wraps, in every tenant.

        Returns:
            What is damaged, by its name: it opens with no key, and stays as it is.
        """
        damaged: list[str] = []
        tenants = await list_tenants(self._database)
        for done, tenant_id in enumerate(tenants, 1):
            damaged += await self._rewrap_tenant(tenant_id)
            damaged += await self._log_keys.rewrap(tenant_id)
            progress(done, len(tenants))
        return damaged

    async def needs_former_keys(self) -> bool:
        """Whether anything that opens is wrapped with a key of the provider's that is not the current one."""
        for tenant_id in await list_tenants(self._database):
            async with self._database.transaction(LogScope(tenant_id)) as transaction:
                keys = await self._repository.list_tenant_keys(transaction)
            for key in keys:
                context = tenant_key_context(tenant_id, key.id)
                if key.wrapped and await is_stale(self._provider, key.wrapped, context):
                    return True
            if await self._log_keys.needs_rewrap(tenant_id):
                return True
        return False

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
            tenant = await self._ledger.tenant(transaction, scope.tenant_id)
            act = Act("tenant_key.rotate", tenant, None, number + 1)
            await self._ledger.append(transaction, OperatorScope(scope.tenant_id), act)

    async def _count_stale(self, scope: Scope) -> int:
        async with self._database.transaction(scope) as transaction:
            return await self._repository.count_stale_data_keys(transaction)

    async def _rewrap_all(self, scope: Scope, progress: Progress) -> tuple[int, frozenset[UUID]]:
        """Wrap with the current key whatever a former one wraps, passing by what others hold, then waiting for that.

        Returns:
            How many were wrapped, and those that are damaged.
        """
        total = await self._count_stale(scope)
        done, waits = 0, False
        damaged = _NONE
        while await self._count_stale(scope) > len(damaged):
            damaged = _NONE
            last: UUID | None = _FIRST
            while last is not None:
                batch = await self._rewrap_some(scope, last, waits=waits)
                last, damaged = batch.last, damaged | batch.damaged
                if batch.renewed:
                    done += batch.renewed
                    progress(done, max(done, total))
            waits = True
        return done, damaged

    async def _rewrap_some(self, scope: Scope, after: UUID, *, waits: bool) -> _Batch:
        async with self._database.transaction(scope) as transaction:
            await self._keys.hold(transaction)
            current = await self._tenant_keys.find_current_tenant_key(transaction)
            if current is None or current.wrapped is None:
                raise NotFoundError("key of tenant", scope.tenant_id.hex)
            if waits:
                stale = await self._repository.wait_for_stale_data_key(transaction, after)
            else:
                stale = await self._repository.list_stale_data_keys(transaction, after, _BATCH)
            material = await self._keys.open_tenant_key(current)
            renewed: dict[UUID, bytes] = {}
            damaged: set[UUID] = set()
            for wrapped in stale:
                try:
                    key = await self._keys.unwrap(wrapped)
                except DecryptionError:
                    damaged.add(wrapped.id)
                    _log.error("data_key_damaged", key_id=str(wrapped.id))
                else:
                    place = data_key_context(scope.tenant_id, key.id)
                    renewed[key.id] = seal(material, key.material, place)
            await self._repository.rewrap_data_keys(transaction, current.id, renewed)
        last = stale[-1].id if stale else None
        return _Batch(last, len(renewed), frozenset(damaged))

    async def _rewrap_tenant(self, tenant_id: UUID) -> list[str]:
        """The names of the damaged ones."""
        damaged: list[str] = []
        scope = LogScope(tenant_id)
        async with self._database.transaction(scope) as transaction:
            keys = await self._repository.list_tenant_keys(transaction)
        for key in keys:
            if key.wrapped is None or self._provider.is_current(key.wrapped):
                continue
            context = tenant_key_context(tenant_id, key.id)
            try:
                material = await self._provider.unwrap(key.wrapped, context)
            except DecryptionError:
                damaged.append(f"tenant key {key.id.hex}")
                _log.error("tenant_key_damaged", key_id=str(key.id))
                continue
            renewed = await self._provider.wrap(material, context)
            async with self._database.transaction(scope) as transaction:
                await self._repository.rewrap_tenant_key(transaction, key.id, key.wrapped, renewed)
        return damaged
