"""The logs' signing keys: made when first needed, kept wrapped, unwrapped in memory only."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from undercroft.kit.crypto.aead import bind
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.errors import UnavailableError
from undercroft.ledger.lru import LruCache
from undercroft.ledger.models import LogScope, StoredKey
from undercroft.ledger.notes import Signer
from undercroft.ledger.repository import LedgerRepository

SIGNING_KEYS: Final = 2
"""The newest key, and the one before it: who trusts only that one is not cut off by a rotation."""

_CACHED_LOGS: Final = 512
_TRIES: Final = 5


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


class LogKeys:
    """Finds, makes and rotates the signing keys of every tenant's log.

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
            await self._add(tenant_id, log_id, 1, f"{self._origin}/ledger/{log_id.hex}")
            # Ours, or another process's that was quicker.
            log_id, stored = await self._read(tenant_id)
        signers = [await self._unwrap(tenant_id, log_id, key) for key in stored]
        keys = SigningKeys(stored[0].number, tuple(signers))
        self._cache.put(tenant_id, keys)
        return keys

    def forget(self, tenant_id: UUID) -> None:
        """Read a tenant's keys again: another process has rotated them."""
        self._cache.drop(tenant_id)

    async def rotate(self, tenant_id: UUID) -> SigningKeys:
        """Add a key that signs from now on, beside the one before it; older ones sign no more.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
            UnavailableError: When others rotated the same log's keys all the time.
        """
        for _ in range(_TRIES):
            self.forget(tenant_id)
            current = await self.get(tenant_id)
            log_id, _ = await self._read(tenant_id)
            number = current.number + 1
            if await self._add(tenant_id, log_id, number, current.origin):
                self.forget(tenant_id)
                return await self.get(tenant_id)
        raise UnavailableError("The keys of this log are being rotated; try again.")

    async def rewrap(self, tenant_id: UUID) -> None:
        """Wrap with the provider's current key what an earlier one wraps of the keys that still sign.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
        """
        scope = LogScope(tenant_id)
        async with self._database.transaction(scope) as transaction:
            log_id = await self._repository.get_log_id(transaction, tenant_id)
            stored = await self._repository.list_signing_keys(transaction, tenant_id, SIGNING_KEYS)
        for key in stored:
            if self._provider.is_current(key.wrapped_private_key):
                continue
            context = _context(tenant_id, log_id, key.number)
            private_key = await self._provider.unwrap(key.wrapped_private_key, context)
            renewed = await self._provider.wrap(private_key, context)
            async with self._database.transaction(scope) as transaction:
                await self._repository.rewrap_key(transaction, tenant_id, key.number, renewed)

    async def list_wrapped(self, tenant_id: UUID) -> list[bytes]:
        """The private keys that sign a tenant's log, as they are wrapped. Older ones are not used again."""
        return await list_wrapped_keys(self._database, tenant_id)

    async def _read(self, tenant_id: UUID) -> tuple[UUID, list[StoredKey]]:
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            log_id = await self._repository.get_log_id(transaction, tenant_id)
            return log_id, await self._repository.list_signing_keys(
                transaction, tenant_id, SIGNING_KEYS
            )

    async def _add(self, tenant_id: UUID, log_id: UUID, number: int, name: str) -> bool:
        key = Ed25519PrivateKey.generate()
        wrapped = await self._provider.wrap(
            key.private_bytes_raw(), _context(tenant_id, log_id, number)
        )
        stored = StoredKey(number, name, key.public_key().public_bytes_raw(), wrapped)
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            if not await self._repository.insert_key(transaction, tenant_id, stored):
                return False
            await self._repository.retire_keys(transaction, tenant_id, number - SIGNING_KEYS + 1)
            return True

    async def _unwrap(self, tenant_id: UUID, log_id: UUID, key: StoredKey) -> Signer:
        private_key = await self._provider.unwrap(
            key.wrapped_private_key, _context(tenant_id, log_id, key.number)
        )
        return Signer.from_bytes(key.name, private_key)


async def list_wrapped_keys(database: Database, tenant_id: UUID) -> list[bytes]:
    """See :meth:`LogKeys.list_wrapped`: what can be asked before there is a provider."""
    async with database.transaction(LogScope(tenant_id)) as transaction:
        stored = await LedgerRepository().list_signing_keys(transaction, tenant_id, SIGNING_KEYS)
    return [key.wrapped_private_key for key in stored]


def _context(tenant_id: UUID, log_id: UUID, number: int) -> bytes:
    return bind(tenant_id, "ledger_keys", log_id, "wrapped_private_key", number)
