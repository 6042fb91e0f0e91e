"""The one HTTP client that the service calls out with.

Every address it is given today is the operator's own setting (model and embedding servers, a KMS), so it may be
private. It follows no redirect, so that such a server cannot send a key elsewhere, and no proxy of the environment.
"""

from typing import Final

import aiohttp

_CONNECTIONS: Final = 512
_CONNECT_SECONDS: Final = 10.0


def open_client() -> aiohttp.ClientSession:
    """A client that reuses connections; its callers set the deadlines of what they ask. Close it when done."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


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
