"""The seam: a key that never leaves its keeper wraps the tenants' keys."""

from typing import Protocol

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.errors import UnavailableError


class KeyUnavailableError(UnavailableError):
    """The keeper of the key does not answer, or no longer has the key that wrapped this."""


class KeyMissingError(KeyUnavailableError):
    """The keeper is there but lacks the key that wrapped this: its operator has to give it back."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="key_missing")


class KeyProvider(Protocol):
    """Wraps and unwraps keys of 32 bytes. Implementations pass tests/kit/crypto/test_providers.py."""

    @property
    def name(self) -> str:
        """What kind of keeper it is, for logs and errors."""
        ...

    async def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a key with the keeper's current key, bound to a context.

        Raises:
            KeyUnavailableError: When the keeper does not answer.
        """
        ...

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a key that was wrapped with the current key or an earlier one.

        Raises:
            DecryptionError: When it was altered or wrapped in another context.
            KeyUnavailableError: When the keeper does not answer, or no longer has the key.
        """
        ...

    def is_current(self, wrapped: bytes) -> bool:
        """Whether it was wrapped with the current key; what was not is rewrapped after a rotation."""
        ...


async def is_stale(provider: KeyProvider, wrapped: bytes, context: bytes) -> bool:
    """Whether a rotation still has to wrap it anew. What is damaged never can be, and waits for nothing.

    Raises:
        KeyUnavailableError: When the keeper does not answer, or no longer has the key.
    """
    if provider.is_current(wrapped):
        return False
    try:
        await provider.unwrap(wrapped, context)
    except DecryptionError:
        return False
    return True
