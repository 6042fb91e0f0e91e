"""What is open under a credential ends with it, whatever becomes of looking at another one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

import pytest

from tests.identity.credentials import Desk
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.issuers.errors import IssuerUnreachableError, WeakAuthenticationError
from undercroft.identity.service import IdentityService
from undercroft.identity.watching import WatchedCredentials
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger

OUTSIDE: Final = "a token of an issuer elsewhere"


class Outside:
    """An issuer whose tokens come to what a test says."""

    def __init__(self, look: Callable[[], Coroutine[Any, Any, NoReturn]]) -> None:
        self._look = look

    async def authenticate(self, token: str) -> NoReturn:
        assert token == OUTSIDE
        await self._look()


def failing(error: Exception) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
    async def look() -> NoReturn:
        raise error

    return look


def make_watched(
    database: Database,
    look: Callable[[], Coroutine[Any, Any, NoReturn]],
    look_seconds: float = 60.0,
) -> WatchedCredentials:
    ids, clock = IdSource(), SystemClock()
    ledger = Ledger(database, ids, clock)
    identity = IdentityService(database, ledger, ids, clock, outside=Outside(look))
    return WatchedCredentials(identity, look_seconds)


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (UnauthenticatedError(), True),
        (WeakAuthenticationError("auth_time", "has to be newer"), True),
        (IssuerUnreachableError(), False),
        (RuntimeError("a defect"), False),
        (TimeoutError(), False),
    ],
    ids=["refused", "too weak", "unreachable", "defect", "timeout"],
)
async def test_each_credential_is_judged_by_itself(
    database: Database, desk: Desk, error: Exception, *, ends: bool
) -> None:
    good, bad = [await desk.key(await desk.person(), None) for _ in range(2)]
    await desk.run(bad.holder, "UPDATE api_keys SET revoked_at = now() WHERE id = $1", bad.id)
    ended: list[str] = []
    watched = make_watched(database, failing(error))
    with (
        watched.register(OUTSIDE, lambda: ended.append("outside")),
        watched.register(good.secret, lambda: ended.append("good")),
        watched.register(bad.secret, lambda: ended.append("bad")),
    ):
        assert await watched.check() == 1 + ends
    assert sorted(ended) == (["bad", "outside"] if ends else ["bad"])


async def test_a_look_that_does_not_end_holds_up_no_other(database: Database, desk: Desk) -> None:
    bad = await desk.key(await desk.person(), None)
    await desk.run(bad.holder, "UPDATE api_keys SET revoked_at = now() WHERE id = $1", bad.id)
    hanging, is_over = asyncio.Event(), asyncio.Event()

    async def hang() -> NoReturn:
        hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    watched = make_watched(database, hang)
    with watched.register(OUTSIDE, lambda: None), watched.register(bad.secret, is_over.set):
        checking = asyncio.create_task(watched.check())
        try:
            async with asyncio.timeout(30):
                await hanging.wait()
                await is_over.wait()
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)


async def test_a_look_takes_only_so_long(database: Database) -> None:
    async def hang() -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError

    watched = make_watched(database, hang, look_seconds=0.0)
    with watched.register(OUTSIDE, lambda: None):
        async with asyncio.timeout(30):
            assert await watched.check() == 0
