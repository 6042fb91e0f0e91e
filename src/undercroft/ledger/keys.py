"""The logs' signing keys: made when first needed, kept wrapped, unwrapped in memory only."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from undercroft.kit.crypto.aead import DecryptionError, bind
from undercroft.kit.crypto.providers.protocol import KeyProvider, is_stale
from undercroft.kit.database import Database, Transaction
from undercroft.kit.lru import LruCache
from undercroft.ledger.models import LogScope, StoredKey
from undercroft.ledger.notes import Signer
from undercroft.ledger.repository import LedgerRepository

SIGNING_KEYS: Final = 2
"""The newest key, and the one before it: who trusts only that one is not cut off by a rotation."""

_CACHED_LOGS: Final = 512

_log: Final = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """What signs a log's checkpoints.

    Attributes:
        number: Of the newest.
        signers: The newest first.
    """

    number: int
    signers: tuple[Signer, ...]

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.signers[0].name


@dataclass(frozen=True, slots=True)
class Successor:
    """A key that is made and not stored yet, and what signs once it is."""

    stored: StoredKey
    keys: SigningKeys


class LogKeys:
    """Finds and makes the signing keys of every tenant's log.

    Args:
        database: Where they are kept.
        provider: Wraps the private halves.
        origin: What a new log's name begins with: a host name, perhaps with a path.
    """

    def __init__(self, database: Database, provider: KeyProvider, origin: str) -> None:
        self._database = database
        self._provider = provider
        self._origin = origin
        self._repository = LedgerRepository()
        self._cache: LruCache[UUID, SigningKeys] = LruCache(_CACHED_LOGS)

    async def get(self, tenant_id: UUID) -> SigningKeys:
        """The keys that sign a tenant's log; the first is made now if there is none.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
        """
        cached = self._cache.get(tenant_id)
        if cached is not None:
            return cached
        log_id, stored = await self._read(tenant_id)
        if not stored:
            name = f"{self._origin}/ledger/{log_id.hex}"
            first, _ = await self._make(tenant_id, log_id, 1, name)
            async with self._database.transaction(LogScope(tenant_id)) as transaction:
                await self._repository.insert_key(transaction, tenant_id, first)
            # Ours, or another process's that was quicker.
            log_id, stored = await self._read(tenant_id)
        signers = [await self._unwrap(tenant_id, log_id, key) for key in stored]
        keys = SigningKeys(stored[0].number, tuple(signers))
        self._cache.put(tenant_id, keys)
        return keys

    async def get_newest(self, tenant_id: UUID) -> SigningKeys:
        """As :meth:`get`, also when another process has rotated them: for what is signed without the log's lock.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
        """
        _, stored = await self._read(tenant_id)
        cached = self._cache.get(tenant_id)
        if cached is not None and cached.number != stored[0].number:
            self.forget(tenant_id)
        return await self.get(tenant_id)

    def forget(self, tenant_id: UUID) -> None:
        """Read a tenant's keys again: another process has rotated them."""
        self._cache.drop(tenant_id)

    async def list_published(self, tenant_id: UUID) -> list[StoredKey]:
        """The keys that sign a tenant's log now, whatever process rotated them; the first is made if there is none.

        Raises:
            KeyUnavailableError: When a key is to be made and the key provider does not answer.
        """
        _, stored = await self._read(tenant_id)
        if not stored:
            await self.get(tenant_id)
            _, stored = await self._read(tenant_id)
        return stored

    async def make_successor(self, tenant_id: UUID) -> Successor:
        """A fresh key for a tenant's log, to sign beside the newest there is. It is stored by :meth:`install`.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
        """
        self.forget(tenant_id)
        current = await self.get(tenant_id)
        log_id, _ = await self._read(tenant_id)
        number = current.number + 1
        stored, signer = await self._make(tenant_id, log_id, number, current.origin)
        return Successor(
            stored, SigningKeys(number, (signer, *current.signers[: SIGNING_KEYS - 1]))
        )

    async def install(
        self, transaction: Transaction, tenant_id: UUID, successor: Successor
    ) -> None:
        """Store a successor and let the keys from before its predecessor sign no more. Under the log's lock."""
        number = successor.keys.number
        await self._repository.insert_key(transaction, tenant_id, successor.stored)
        await self._repository.retire_keys(transaction, tenant_id, number - SIGNING_KEYS + 1)

    async def rewrap(self, tenant_id: UUID) -> list[str]:
        """Wrap with the provider's current key what an earlier one wraps of the keys that still sign.

        Returns:
            What is damaged, by its name: it opens with no key, and stays as it is.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
        """
        damaged: list[str] = []
        scope = LogScope(tenant_id)
        log_id, stored = await self._read(tenant_id)
        for key in stored:
            if self._provider.is_current(key.wrapped_private_key):
                continue
            context = _context(tenant_id, log_id, key.number)
            try:
                private_key = await self._provider.unwrap(key.wrapped_private_key, context)
            except DecryptionError:
                damaged.append(f"signing key {key.number} of log {log_id.hex}")
                _log.error("signing_key_damaged", log_id=str(log_id), number=key.number)
                continue
            renewed = await self._provider.wrap(private_key, context)
            async with self._database.transaction(scope) as transaction:
                await self._repository.rewrap_key(transaction, tenant_id, key.number, renewed)
        return damaged

    async def needs_rewrap(self, tenant_id: UUID) -> bool:
        """Whether one of the keys that sign opens, and is wrapped with an earlier key of the provider's.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
        """
        log_id, stored = await self._read(tenant_id)
        for key in stored:
            context = _context(tenant_id, log_id, key.number)
            if await is_stale(self._provider, key.wrapped_private_key, context):
                return True
        return False

    async def _read(self, tenant_id: UUID) -> tuple[UUID, list[StoredKey]]:
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            log_id = await self._repository.get_log_id(transaction, tenant_id)
            return log_id, await self._repository.list_signing_keys(
                transaction, tenant_id, SIGNING_KEYS
            )

    async def _make(
        self, tenant_id: UUID, log_id: UUID, number: int, name: str
    ) -> tuple[StoredKey, Signer]:
        key = Ed25519PrivateKey.generate()
        wrapped = await self._provider.wrap(
            key.private_bytes_raw(), _context(tenant_id, log_id, number)
        )
        stored = StoredKey(number, name, key.public_key().public_bytes_raw(), wrapped)
        return stored, Signer(name, key)

    async def _unwrap(self, tenant_id: UUID, log_id: UUID, key: StoredKey) -> Signer:
        private_key = await self._provider.unwrap(
            key.wrapped_private_key, _context(tenant_id, log_id, key.number)
        )
        return Signer.from_bytes(key.name, private_key)


async def list_wrapped_keys(database: Database, tenant_id: UUID) -> list[bytes]:
    """The private keys that sign a tenant's log, as they are wrapped: what can be asked before there is a provider."""
    async with database.transaction(LogScope(tenant_id)) as transaction:
        stored = await LedgerRepository().list_signing_keys(transaction, tenant_id, SIGNING_KEYS)
    return [key.wrapped_private_key for key in stored]


def _context(tenant_id: UUID, log_id: UUID, number: int) -> bytes:
    return bind(tenant_id, "ledger_keys", log_id, "wrapped_private_key", number)
