"""Makes and opens data keys.

Three levels (envelope encryption): a data key for each row that holds content, wrapped by its tenant's key, wrapped by
the key provider. Destroying a row's key, or the tenant's, makes the content unreadable wherever a copy of it may be.

An open tenant's key is cached, so that the provider is asked once for each tenant and process. Every read joins the key
rows all the same and opens what they hold *now*: with the row gone, a cached key has nothing left to open.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import KEY_BYTES, bind, seal, unseal
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.lru import LruCache
from undercroft.kit.scope import Scope
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey, WrappedDataKey, WrappedTenantKey
from undercroft.vault.keys.repository import KeyRepository, wrapped_key

_CACHED: Final = 1024
"""Open tenants' keys: some 100 bytes each."""
_SALT_BYTES: Final = 32


class KeyRing:
    """The keys of every tenant, opened as their rows are read.

    Args:
        provider: Wraps the tenants' keys.
        ids: Names keys.
        entropy: Returns that many random bytes.
    """

    def __init__(
        self,
        provider: KeyProvider,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._provider = provider
        self._ids = ids
        self._entropy = entropy
        self._repository = KeyRepository()
        self._open_tenant_keys: LruCache[UUID, tuple[bytes, bytes]] = LruCache(_CACHED)
        # Of each tenant the id and the material of the key that was current when it was looked up. Whether it is still
        # is said by the statement that stores what it has wrapped.
        self._current: LruCache[UUID, tuple[UUID, bytes]] = LruCache(_CACHED)

    def generate(self) -> DataKey:
        """A fresh data key, for what is encrypted before its row can be written. It is kept by :meth:`keep`."""
        return DataKey(self._ids.new(), self._entropy(KEY_BYTES), self._entropy(_SALT_BYTES))

    async def create(self, transaction: Transaction, scope: Scope) -> DataKey:
        """A fresh data key for a row that the same transaction writes.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
        """
        key = self.generate()
        await self.keep(transaction, scope, key)
        return key

    async def keep(self, transaction: Transaction, scope: Scope, key: DataKey) -> None:
        """Wrap a generated key and store it, before the row that it encrypts.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
        """
        while True:
            current = self._current.get(scope.tenant_id)
            if current is None:
                tenant_key = await self._current_tenant_key(transaction, scope)
                current = tenant_key.id, await self.open_tenant_key(tenant_key)
                self._current.put(scope.tenant_id, current)
            tenant_key_id, material = current
            wrapped = seal(material, key.material, data_key_context(scope.tenant_id, key.id))
            if await self._repository.insert_data_key(transaction, key, tenant_key_id, wrapped):
                return
            self._current.drop(scope.tenant_id)

    async def hold(self, transaction: Transaction) -> None:
        """Keep the tenant's keys from being replaced or destroyed until the transaction ends.

        Before it locks anything: a destruction has the keys first, and then locks what they encrypted.
        """
        await self._repository.hold_tenant_keys(transaction)

    async def open(self, row: Record, prefix: str = "") -> DataKey:
        """The open key of a row that was read together with its key rows: see ``find_data_key`` in queries.sql.

        Args:
            row: Has the columns of ``find_data_key``.
            prefix: What stands before their names, in a row with several keys.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
            DecryptionError: When the key rows were altered or swapped.
        """
        return await self.unwrap(wrapped_key(row, prefix))

    async def read(self, transaction: Transaction, key_id: UUID) -> DataKey | None:
        """A data key by its id; None when it was destroyed.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
            DecryptionError: When the key rows were altered or swapped.
        """
        found = await self._repository.find_data_key(transaction, key_id)
        return None if found is None else await self.unwrap(found)

    async def destroy(self, transaction: Transaction, key_ids: Sequence[UUID]) -> None:
        """Destroy data keys, and the salts of the ledger's commitments with them."""
        await self._repository.delete_data_keys(transaction, key_ids)

    async def lookup_digest(
        self, transaction: Transaction, scope: Scope, purpose: str, value: bytes
    ) -> bytes:
        """A keyed digest by which equal values of one tenant are found: 32 bytes, meaningless without its key.

        Args:
            transaction: Where the tenant's lookup key is read, or made the first time.
            scope: Whose value it is.
            purpose: What is compared; equal values for two purposes have different digests.
            value: What to digest.
        """
        key = await self._lookup_key(transaction, scope)
        name = purpose.encode()
        return hmac.digest(key.material, len(name).to_bytes(2) + name + value, hashlib.sha256)

    async def derive_key(
        self, transaction: Transaction, scope: Scope, purpose: str, value: bytes
    ) -> bytes:
        """A key for what is stored nowhere, 32 bytes: the same for the same purpose and value of one tenant.

        It goes with the tenant's lookup key, from which it is derived.

        Args:
            transaction: Where that key is read, or made the first time.
            scope: Whose it is.
            purpose: What it encrypts; keys for two purposes have nothing to do with each other, nor with digests.
            value: Which of them.
        """
        return await self.lookup_digest(transaction, scope, f"derived key: {purpose}", value)

    async def _lookup_key(self, transaction: Transaction, scope: Scope) -> DataKey:
        found = await self._repository.find_lookup_key(transaction)
        if found is not None:
            return await self.unwrap(found)
        key = await self.create(transaction, scope)
        if await self._repository.insert_lookup_key(transaction, key.id):
            return key
        # Another transaction was first, and has committed: the insert waited for it.
        await self.destroy(transaction, [key.id])
        return await self._lookup_key(transaction, scope)

    async def _current_tenant_key(self, transaction: Transaction, scope: Scope) -> WrappedTenantKey:
        found = await self._repository.find_current_tenant_key(transaction)
        if found is not None:
            return found
        key_id = self._ids.new()
        context = tenant_key_context(scope.tenant_id, key_id)
        wrapped = await self._provider.wrap(self._entropy(KEY_BYTES), context)
        await self._repository.insert_first_tenant_key(transaction, key_id, wrapped)
        return await self._current_tenant_key(transaction, scope)

    async def unwrap(self, key: WrappedDataKey) -> DataKey:
        """Open a data key.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
            DecryptionError: When the key rows were altered or swapped.
        """
        material = await self.open_tenant_key(key.tenant_key)
        context = data_key_context(key.tenant_key.tenant_id, key.id)
        return DataKey(key.id, unseal(material, key.wrapped, context), key.salt)

    async def open_tenant_key(self, key: WrappedTenantKey) -> bytes:
        """The material of a tenant's key.

        Raises:
            KeyDestroyedError: When it was destroyed.
            KeyUnavailableError: When the provider does not answer.
            DecryptionError: When its row was altered or swapped.
        """
        if key.wrapped is None:
            self._open_tenant_keys.drop(key.id)
            raise KeyDestroyedError
        cached = self._open_tenant_keys.get(key.id)
        if cached is not None and cached[0] == key.wrapped:
            return cached[1]
        material = await self._provider.unwrap(
            key.wrapped, tenant_key_context(key.tenant_id, key.id)
        )
        self._open_tenant_keys.put(key.id, (key.wrapped, material))
        return material


def tenant_key_context(tenant_id: UUID, key_id: UUID) -> bytes:
    """What a wrapped tenant's key is bound to."""
    return bind(tenant_id, "tenant_keys", key_id, "wrapped_key")


def data_key_context(tenant_id: UUID, key_id: UUID) -> bytes:
    """What a wrapped data key is bound to."""
    return bind(tenant_id, "data_keys", key_id, "wrapped_key")
