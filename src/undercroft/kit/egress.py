"""The HTTP clients that the service calls out with.

:func:`open_client` is for the operator's own settings (model and embedding servers, a KMS), whose addresses may be
private. :func:`open_guarded_client` is for addresses that a tenant names: it reaches nothing that is not public unless
the operator says so. Neither follows a redirect elsewhere with what it carries, nor takes a proxy from the environment.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Final, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from undercroft.kit.egress_policy import EgressPolicy, EgressRefusedError

PASSING_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Of answers after which the same request may succeed."""

_CONNECTIONS: Final = 512
_GUARDED_CONNECTIONS: Final = 64
_CONNECT_SECONDS: Final = 10.0

Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses behind a host's name, as the system has them."""


def open_client(connections: int = _CONNECTIONS) -> aiohttp.ClientSession:
    """A client that reuses connections; its callers set the deadlines of what they ask. Close it when done.

    Args:
        connections: The most at once. Whoever comes when all are taken waits, and mostly not for long: it should be no
            fewer than what the caller has admitted.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def look_up(host: str) -> Sequence[str]:
    """What the system's resolver says of a name, now.

    Raises:
        OSError: When there is no such name, or nobody to ask.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


def open_guarded_client(policy: EgressPolicy, lookup: Lookup = look_up) -> aiohttp.ClientSession:
    """A client for addresses that somebody else names; its callers set their deadlines. Close it when done.

    A request to what the policy does not admit raises EgressRefusedError before anything is sent. A name is looked up
    once for each connection, and connected to is what was found and checked: a name that means another machine a moment
    later (DNS rebinding) gains nothing. Connections are not kept, so that no later request goes by an earlier check.
    """
    tracing = aiohttp.TraceConfig()

    async def check(
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        request: aiohttp.TraceRequestStartParams,
    ) -> None:
        del session, context
        policy.check_url(str(request.url))

    async def refuse_redirect(
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        request: aiohttp.TraceRequestRedirectParams,
    ) -> None:
        del session, context, request
        raise EgressRefusedError("It redirects elsewhere, and redirects are not followed.")

    # An address in place of a name is not looked up, so it is the URL that has to be checked as well.
    tracing.on_request_start.append(check)
    tracing.on_request_redirect.append(refuse_redirect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_GUARDED_CONNECTIONS,
            resolver=_GuardedResolver(policy, lookup),
            use_dns_cache=False,
            force_close=True,
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing],
        trust_env=False,
    )


class _GuardedResolver(AbstractResolver):
    """Answers what is admitted, and nothing where any of a name's addresses is not."""

    def __init__(self, policy: EgressPolicy, lookup: Lookup) -> None:
        self._policy = policy
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses to connect to.

        Raises:
            EgressRefusedError: When one is not admitted: which of them is connected to would be chance.
            OSError: When there is no such name.
        """
        del family
        addresses = list(dict.fromkeys(await self._lookup(host)))
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            self._policy.check_address(address)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


class ResponseTooLargeError(Exception):
    """A body is longer than was to be read."""


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body as decompressed, read no further than the limit.

    Raises:
        ResponseTooLargeError: When it is longer.
    """
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise ResponseTooLargeError
    return bytes(body)
