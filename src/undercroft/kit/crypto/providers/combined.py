"""Every keeper that the settings name, as one: what moves from one to another is readable all the while."""

from undercroft.kit.crypto.providers.aws_kms import is_wrapped_by_kms
from undercroft.kit.crypto.providers.protocol import KeyMissingError, KeyProvider


class CombinedKeyProvider:
    """A key provider of which one keeper wraps, and each unwraps what it wrapped.

    Args:
        current: Wraps; one of the two.
        file: A key file.
        kms: Keys of AWS KMS; None where none is set up.
    """

    def __init__(
        self, current: KeyProvider, *, file: KeyProvider, kms: KeyProvider | None = None
    ) -> None:
        self._current = current
        self._file = file
        self._kms = kms

    async def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`KeyProvider`."""
        return await self._current.wrap(key, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`KeyProvider`."""
        if not is_wrapped_by_kms(wrapped):
            return await self._file.unwrap(wrapped, context)
        if self._kms is None:
            raise KeyMissingError(
                "This needs a key of AWS KMS, and this service is not set up to use one. Its operator has to set "
                "kms_key_id."
            )
        return await self._kms.unwrap(wrapped, context)

    def is_current(self, wrapped: bytes) -> bool:
        """See :class:`KeyProvider`."""
        return self._current.is_current(wrapped)
