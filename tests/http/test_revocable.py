"""A download under a grant ends with it, before its declared length and what waits in buffers is sent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from uuid import UUID

import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from tests.conftest import MakeScope, Member
from tests.http.server import serving
from tests.second_factors import demand_factors
from undercroft.http.revocable import RevocableResponse
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.models import GrantLimits, Release, Way
from undercroft.sharing.watching import WatchedGrants

LENGTH = 64 * 1024 * 1024
"""More than every buffer on the way holds."""
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
GONE = Release(UUID(int=4), Way((GrantLimits(UUID(int=1)),)))
"""Under a grant that has gone."""


@pytest.fixture
async def watched(database_urls: DatabaseUrls) -> AsyncGenerator[WatchedGrants]:
    async with Database(database_urls.service, clock=SystemClock(), size=1) as database:
        yield WatchedGrants(database)


async def blocks() -> AsyncIterator[bytes]:
    for _ in range(LENGTH // 65536):
        yield bytes(65536)


async def damaged_blocks() -> AsyncIterator[bytes]:
    yield bytes(65536)
    raise DecryptionError


async def received(
    watched: WatchedGrants,
    caller: Member,
    *releases: Release,
    content: Callable[[], AsyncIterator[bytes]] = blocks,
) -> int:
    """How much comes of a body whose grants are looked at once it has begun."""
    ended = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"Content-Length": str(LENGTH)}
        response = RevocableResponse(watched, caller, releases, content(), headers=headers)
        try:
            await response(scope, receive, send)
        finally:
            ended.set()

    async with asyncio.timeout(60), serving(application) as connect:
        reader, writer = await connect()
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        if await watched.check():
            # Before the client has read any of it: the server waits for no reader to be cut.
            await ended.wait()
        count = 0
        while count < LENGTH and (block := await reader.read(1 << 20)):
            count += len(block)
        return count


async def is_aborted(watched: WatchedGrants, caller: Member, *releases: Release) -> bool:
    """Whether the connection is reset, by which what waits on the way is forgotten, and not closed after it."""
    try:
        await received(watched, caller, *releases)
    except ConnectionResetError:
        return True
    return False


async def test_it_ends_with_its_grant_and_what_waits_for_its_reader_is_not_sent(
    watched: WatchedGrants,
) -> None:
    caller = Member(UUID(int=2), UUID(int=3), "bob@example.org")
    assert await is_aborted(watched, caller, GONE)


async def test_an_owners_is_sent_whole(watched: WatchedGrants, make_scope: MakeScope) -> None:
    assert await received(watched, await make_scope()) == LENGTH


async def test_it_ends_with_whoever_has_it_sent(watched: WatchedGrants) -> None:
    nobody = Member(UUID(int=2), UUID(int=3), "ann@example.org")
    assert await is_aborted(watched, nobody)


async def test_it_ends_with_whoever_comes_to_owe_a_second_factor(
    watched: WatchedGrants, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await demand_factors(database, ann)
    assert await is_aborted(watched, ann)


async def test_it_ends_where_it_is_damaged_and_the_log_says_so_in_a_line(
    watched: WatchedGrants, make_scope: MakeScope, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        assert await received(watched, await make_scope(), content=damaged_blocks) == 65536
    assert {"event": "download_broken", "code": "content_damaged", "log_level": "error"} in logs
    assert not [record for record in caplog.records if record.exc_info]
