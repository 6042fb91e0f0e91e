"""Ends what is open under a credential that has ended: revoked, expired, or of somebody who was suspended."""

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import structlog

from undercroft.identity.service import IdentityService
from undercroft.kit.errors import ErrorKind, UndercroftError

LOOK_SECONDS: Final = 10.0
_AT_ONCE: Final = 8

_log = structlog.stdlib.get_logger(__name__)


class WatchedCredentials:
    """What this process keeps open for whoever showed a credential when it was opened.

    Args:
        identity: Knows which are good.
        look_seconds: The longest that it takes to find out about one.
    """

    def __init__(self, identity: IdentityService, look_seconds: float = LOOK_SECONDS) -> None:
        self._identity = identity
        self._look_seconds = look_seconds
        self._open: dict[str, list[Callable[[], None]]] = {}

    @contextmanager
    def register(self, secret: str, end: Callable[[], None]) -> Generator[None]:
        """Have ``end`` called when the credential has ended while this is open; perhaps more than once."""
        ends = self._open.setdefault(secret, [])
        ends.append(end)
        try:
            yield
        finally:
            ends.remove(end)
            if not ends:
                del self._open[secret]

    async def check(self) -> int:
        """End what has to; how much that was. Each credential is asked about once, whatever is open under it.

        Each is judged by itself: what cannot be judged now stays open until the next time, and holds up no other.
        """
        places, failures = asyncio.Semaphore(_AT_ONCE), Counter[str]()
        looks = [self._check(secret, places, failures) for secret in list(self._open)]
        ended = sum(await asyncio.gather(*looks))
        for error, count in failures.items():
            _log.warning("credentials_not_checked", error=error, count=count)
        return ended

    async def _check(self, secret: str, places: asyncio.Semaphore, failures: Counter[str]) -> int:
        async with places:
            try:
                async with asyncio.timeout(self._look_seconds):
                    await self._identity.authenticate(secret)
            # A token of an issuer elsewhere can fail in many ways: none may keep another tenant's from being looked at.
            except Exception as error:  # noqa: BLE001
                if not _is_refusal(error):
                    failures[type(error).__name__] += 1
                    return 0
            else:
                return 0
        ends = list(self._open.get(secret, ()))
        for end in ends:
            end()
        return len(ends)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, UndercroftError) and error.kind is ErrorKind.UNAUTHENTICATED
