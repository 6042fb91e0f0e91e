"""A key of AWS KMS, which never leaves it, as the keeper of the key that wraps all others.

What is wrapped is a mark, the length and the name (ARN) of the key, and KMS's ciphertext. The name is needed to ask,
and to see without asking whether it is the current key's.
"""

import hmac
import os
import struct
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import Final

import structlog

from undercroft.kit.clock import Clock
from undercroft.kit.crypto.aead import KEY_BYTES, DecryptionError
from undercroft.kit.crypto.providers.kms_client import KmsClient
from undercroft.kit.crypto.providers.kms_errors import KmsError, KmsUnreachableError
from undercroft.kit.crypto.providers.kms_key import KmsKey
from undercroft.kit.crypto.providers.protocol import KeyMissingError, KeyUnavailableError

_MARK: Final = b"aws-kms\x01"
_HEAD: Final = struct.Struct(f">{len(_MARK)}sH")
_RETRY_SECONDS: Final = 5
_REST_SECONDS: Final = 2.0

_log = structlog.stdlib.get_logger(__name__)


def is_wrapped_by_kms(wrapped: bytes) -> bool:
    """Whether KMS wrapped it; a key of a file has a random id where this has its mark."""
    return wrapped.startswith(_MARK)


class AwsKms:
    """A key provider over keys of AWS KMS.

    While KMS does not answer, it is asked by one at a time and not again for a moment, and all others are refused at
    once: whoever waits holds a database connection, which tenants whose keys are open can use.

    Args:
        client: Asks KMS.
        key: Wraps.
        others: Unwrap what they wrapped. No further key is asked for, whatever the database names.
        clock: Measures the moment.
        entropy: Returns that many random bytes.
    """

    def __init__(
        self,
        client: KmsClient,
        key: KmsKey,
        others: Collection[KmsKey] = (),
        *,
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._client = client
        self._key = key
        self._keys = frozenset({key, *others})
        self._outage = _Outage(clock)
        self._entropy = entropy

    async def check(self) -> None:
        """Wrap something that nobody needs, and unwrap it.

        Raises:
            KmsError: When that fails; the text tells the operator what to do.
        """
        await self._wrap(self._entropy(KEY_BYTES), b"check")

    async def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`KeyProvider`."""
        with self._outage.noticed():
            return await self._wrap(key, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`KeyProvider`."""
        key, ciphertext = _split(wrapped)
        if key not in self._keys:
            _log.error("kms_key_not_configured", key=key.arn)
            raise KeyMissingError(
                "This needs a key of AWS KMS that this service is not set up to use; its operator finds in the log "
                "which."
            )
        with self._outage.noticed():
            return await self._unwrap(key, ciphertext, context)

    def is_current(self, wrapped: bytes) -> bool:
        """See :class:`KeyProvider`."""
        return wrapped.startswith(_head(self._key))

    async def _wrap(self, key: bytes, context: bytes) -> bytes:
        """Nothing is stored that was not seen to open: it may replace the only other copy."""
        ciphertext = await self._client.encrypt(self._key, key, context)
        try:
            opened = await self._unwrap(self._key, ciphertext, context)
        except DecryptionError:
            opened = b""
        if not hmac.compare_digest(opened, key):
            raise KmsError(self._key.arn, "what it encrypts does not open again")
        return _head(self._key) + ciphertext

    async def _unwrap(self, key: KmsKey, ciphertext: bytes, context: bytes) -> bytes:
        opened = await self._client.decrypt(key, ciphertext, context)
        if len(opened) != KEY_BYTES:
            raise KmsError(key.arn, "it sends something other than was asked for")
        return opened


class _Outage:
    """Whether KMS answers, as far as is known."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rests_until: float | None = None
        self._is_probed = False

    @contextmanager
    def noticed(self) -> Generator[None]:
        """While KMS is asked for something; its failures become what a caller may read.

        Raises:
            KeyUnavailableError: When there is no use in asking now, or KMS failed.
        """
        is_probe = self._rests_until is not None
        if is_probe:
            self._refuse_unless_due()
            self._is_probed = True
        try:
            yield
        except KmsError as error:
            is_silent = isinstance(error, KmsUnreachableError)
            self._rests_until = self._clock.monotonic() + _REST_SECONDS if is_silent else None
            _log.error("kms_failed", reason=str(error))
            raise _unavailable() from error
        except DecryptionError:
            self._rests_until = None
            raise
        else:
            self._rests_until = None
        finally:
            if is_probe:
                self._is_probed = False

    def _refuse_unless_due(self) -> None:
        if self._is_probed or self._clock.monotonic() < (self._rests_until or 0.0):
            raise _unavailable()


def _unavailable() -> KeyUnavailableError:
    return KeyUnavailableError(
        "The keeper of this service's keys cannot be used now; its operator finds the reason in the log.",
        retry_after=_RETRY_SECONDS,
        code="key_unavailable",
    )


def _head(key: KmsKey) -> bytes:
    return _HEAD.pack(_MARK, len(key.arn)) + key.arn.encode()


def _split(wrapped: bytes) -> tuple[KmsKey, bytes]:
    """The key and KMS's ciphertext."""
    if len(wrapped) < _HEAD.size:
        raise DecryptionError
    mark, length = _HEAD.unpack_from(wrapped)
    arn, ciphertext = wrapped[_HEAD.size :][:length], wrapped[_HEAD.size + length :]
    if mark != _MARK or not ciphertext:
        raise DecryptionError
    try:
        return KmsKey(arn.decode("ascii")), ciphertext
    except ValueError as error:
        raise DecryptionError from error
