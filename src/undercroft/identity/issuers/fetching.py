"""Issuers' keys: fetched when they are needed, kept for a while, fetched again when one is not among them."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import aiohttp
import structlog

from undercroft.identity.issuers.errors import IssuerUnreachableError
from undercroft.identity.issuers.jwts import VerificationKey
from undercroft.identity.issuers.key_sets import KeySet, KeySetError, read_key_set
from undercroft.kit.clock import Clock
from undercroft.kit.egress import ResponseTooLargeError, read_bounded
from undercroft.kit.errors import UndercroftError
from undercroft.kit.lru import LruCache

FRESH_SECONDS: Final = 300.0
"""After which keys are fetched again."""
LONGEST_SECONDS: Final = 24 * 3600.0
"""For which keys serve while their issuer does not answer."""
INTERVAL_SECONDS: Final = 30.0
"""Between two fetches from one issuer at least, whatever is asked for."""
_FETCH_SECONDS: Final = 5.0
_LARGEST_DOCUMENT: Final = 256 * 1024
_ISSUERS: Final = 1000

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class _Kept:
    """What is known of an issuer's keys.

    Attributes:
        fetched_at: When the keys were had last, by the clock that never goes back.
        tried_at: When somebody last tried.
        fetching: The fetch that runs, for all who wait for it.
    """

    keys: KeySet | None = None
    fetched_at: float = 0.0
    tried_at: float | None = None
    fetching: "asyncio.Task[None] | None" = None


class IssuerKeys:
    """The keys of issuers, for one event loop.

    Args:
        client: Reaches what tenants may name.
        clock: Measures ages.
    """

    def __init__(self, client: aiohttp.ClientSession, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: LruCache[str, _Kept] = LruCache(_ISSUERS)
        self._running: set[asyncio.Task[None]] = set()

    async def find(self, url: str, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """An issuer's key; None when it has none such.

        Keys that are no longer fresh serve while they are fetched again, so a rotation stops nobody.

        Raises:
            IssuerUnreachableError: When the issuer does not answer, and what is kept of it does not serve.
        """
        kept = self._kept.get(url)
        if kept is None:
            kept = _Kept()
            self._kept.put(url, kept)
        key = self._look(kept, key_id, algorithm)
        if self._is_due(kept, is_missing=key is None):
            kept.tried_at = self._clock.monotonic()
            kept.fetching = asyncio.create_task(self._fetch(url, kept))
            self._running.add(kept.fetching)
            kept.fetching.add_done_callback(self._running.discard)
        if key is not None:
            return key
        if kept.fetching is not None:
            # Shielded: whoever leaves does not end what others wait for.
            await asyncio.shield(kept.fetching)
            key = self._look(kept, key_id, algorithm)
        if key is None and (kept.keys is None or kept.fetched_at < (kept.tried_at or 0.0)):
            raise IssuerUnreachableError
        return key

    async def close(self) -> None:
        """End what still runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _look(self, kept: _Kept, key_id: str | None, algorithm: str) -> VerificationKey | None:
        if kept.keys is None or self._clock.monotonic() - kept.fetched_at > LONGEST_SECONDS:
            return None
        return kept.keys.find(key_id, algorithm)

    def _is_due(self, kept: _Kept, *, is_missing: bool) -> bool:
        now = self._clock.monotonic()
        if kept.tried_at is not None and now - kept.tried_at < INTERVAL_SECONDS:
            return False
        return is_missing or now - kept.fetched_at > FRESH_SECONDS

    async def _fetch(self, url: str, kept: _Kept) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                kept.keys = await self._fetch_keys(url)
            kept.fetched_at = self._clock.monotonic()
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            ValueError,
            RecursionError,
            ResponseTooLargeError,
            UndercroftError,
        ) as error:
            _log.warning("issuer_keys_not_fetched", issuer=url, reason=type(error).__name__)
        finally:
            kept.fetching = None

    async def _fetch_keys(self, url: str) -> KeySet:
        document = json.loads(
            await self._get(f"{url.rstrip('/')}/.well-known/openid-configuration")
        )
        if not isinstance(document, dict):
            raise KeySetError
        found = cast("dict[str, Any]", document)
        # Else whoever serves one issuer could name themselves another (OpenID Connect Discovery, section 4.3).
        if found.get("issuer") != url:
            raise KeySetError
        address = found.get("jwks_uri")
        if not isinstance(address, str) or urlsplit(address).scheme != urlsplit(url).scheme:
            raise KeySetError
        return read_key_set(await self._get(address))

    async def _get(self, url: str) -> bytes:
        async with self._client.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise KeySetError
            return await read_bounded(response, _LARGEST_DOCUMENT)
