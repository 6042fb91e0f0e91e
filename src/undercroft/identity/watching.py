"""Ends what is open under a credential that has ended: revoked, expired, or of somebody who was suspended."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.service import IdentityService


class WatchedCredentials:
    """What this process keeps open for whoever showed a credential when it was opened.

    Args:
        identity: Knows which are good.
    """

    def __init__(self, identity: IdentityService) -> None:
        self._identity = identity
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
        """End what has to; how much that was. Each credential is asked about once, whatever is open under it."""
        ended = 0
        for secret in list(self._open):
            try:
                await self._identity.authenticate(secret)
            except UnauthenticatedError:
                ends = list(self._open.get(secret, ()))
                for end in ends:
                    end()
                ended += len(ends)
        return ended
