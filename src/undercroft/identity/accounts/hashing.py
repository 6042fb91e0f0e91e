"""Hashing passwords with argon2id: off the event loop, and only so many at once.

A hash keeps its memory from beginning to end, so how many are computed together is what bounds the memory.
"""

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from undercroft.kit.errors import UnavailableError

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_RETRY_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class HashCost:
    """What one hash costs. The default is the second recommended option of RFC 9106, section 4."""

    iterations: int = 3
    lanes: int = 4
    kibibytes: int = 64 * 1024

    @property
    def prefix(self) -> str:
        """What every hash of this cost begins with."""
        return f"$argon2id$v=19$m={self.kibibytes},t={self.iterations},p={self.lanes}$"


class PasswordHasher:
    """Makes and checks hashes in the PHC string format. Close it when done.

    Args:
        cost: Of the hashes that are made; those that are checked say their own.
        at_once: How many are computed at the same time.
        waiting: How many more may wait for that.
        entropy: Where salts come from.
    """

    def __init__(
        self,
        cost: HashCost | None = None,
        *,
        at_once: int = 2,
        waiting: int = 32,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._cost = cost or HashCost()
        self._entropy = entropy
        self._places = at_once + waiting
        # Threads of its own: in the loop's, hashes would keep files and name look-ups waiting.
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="password")
        # A hash of nothing: random bytes, in the form of one, so that checking against it takes as long and fails.
        salt, digest = (_encode(entropy(size)) for size in (_SALT_BYTES, _HASH_BYTES))
        self._nobodys = f"{self._cost.prefix}{salt}${digest}"

    def close(self) -> None:
        """Compute nothing more; what has begun comes to its end."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def is_outdated(self, encoded: str) -> bool:
        """Whether a hash has another cost than new ones."""
        return not encoded.startswith(self._cost.prefix)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator["HashingPlace"]:
        """One of the places in which passwords are hashed, kept until the block ends.

        Taken before an attempt is counted, so that nobody's attempts are used up because the service is busy.

        Raises:
            UnavailableError: When all are taken.
        """
        if self._places == 0:
            raise UnavailableError(
                "Too many people are signing in at this moment; try again.",
                retry_after=_RETRY_SECONDS,
                code="too_many_sign_ins",
            )
        self._places -= 1
        try:
            yield HashingPlace(self._threads, self._cost, self._nobodys, self._entropy)
        finally:
            self._places += 1


class HashingPlace:
    """Hashes one password after the other; made by :meth:`PasswordHasher.place`."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        cost: HashCost,
        nobodys: str,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._threads = threads
        self._cost = cost
        self._nobodys = nobodys
        self._entropy = entropy

    async def hash(self, password: bytes) -> str:
        """The hash of a password, with its cost and its salt."""
        salt = self._entropy(_SALT_BYTES)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _hash, password, salt, self._cost)

    async def is_password(self, password: bytes, encoded: str | None) -> bool:
        """Whether a hash is of this password. It takes as long when there is none, and is false."""
        expected = self._nobodys if encoded is None else encoded
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _is_password, password, expected)


def _hash(password: bytes, salt: bytes, cost: HashCost) -> str:
    argon2 = Argon2id(
        salt=salt,
        length=_HASH_BYTES,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.kibibytes,
    )
    return argon2.derive_phc_encoded(password)


def _is_password(password: bytes, encoded: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, encoded)
    except InvalidKey:
        return False
    return True


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
