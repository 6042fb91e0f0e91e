"""How often one client may ask for what costs a processor and needs no key."""

import math
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from undercroft.http.account_views import client_of
from undercroft.http.rate_limits import RateLimit, tell_limits
from undercroft.identity.accounts.attempts import network_of
from undercroft.identity.accounts.models import Client
from undercroft.kit.clock import Clock
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.lru import LruCache

_CLIENTS: Final = 10_000


@dataclass(slots=True)
class _Allowance:
    """How many requests are left, as of when."""

    left: float
    at: float


class ClientRates:
    """A bucket of requests for each client, that fills again while they wait.

    In this process's memory: it keeps one client from taking what all share, and proves nothing about anybody.

    Args:
        clock: Fills the buckets.
        burst: How many a client may send at once.
        per_second: How many come back.
    """

    def __init__(self, clock: Clock, burst: int, per_second: float) -> None:
        self._clock = clock
        self._burst = burst
        self._per_second = per_second
        self._allowances: LruCache[str, _Allowance] = LruCache(_CLIENTS)

    def count(self, request: Request) -> None:
        """Count a request, whose answer says how many are left.

        Raises:
            UndercroftError: Of kind RATE_LIMITED, when there are none.
        """
        client = client_of(request)
        try:
            self.take(client)
        finally:
            tell_limits(request, self._limit(client))

    def take(self, client: Client) -> None:
        """Count one request of a client, by their network.

        Raises:
            UndercroftError: Of kind RATE_LIMITED, when they have none left.
        """
        now, network = self._clock.monotonic(), network_of(client)
        allowance = self._allowances.get(network)
        if allowance is None:
            allowance = _Allowance(self._burst, now)
            self._allowances.put(network, allowance)
        regained = (now - allowance.at) * self._per_second
        allowance.left, allowance.at = min(self._burst, allowance.left + regained), now
        if allowance.left < 1:
            raise UndercroftError(
                "You ask too often. Wait a little, and ask again.",
                kind=ErrorKind.RATE_LIMITED,
                code="too_many_requests",
                retry_after=max(1, round((1 - allowance.left) / self._per_second)),
            )
        allowance.left -= 1

    def _limit(self, client: Client) -> RateLimit:
        allowance = self._allowances.get(network_of(client))
        left = self._burst if allowance is None else allowance.left
        return RateLimit(
            "client",
            self._burst,
            math.ceil(self._burst / self._per_second),
            math.floor(left),
            math.ceil((self._burst - left) / self._per_second),
        )
