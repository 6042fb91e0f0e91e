"""Several answers to one question are cut as one is: where they are read, whatever was made ahead."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import PATIENCE
from undercroft.chat.choices import several
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.watching import WatchedGrants


class Endless:
    """Answers that never end, and what was closed of them."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = 0

    async def answer(self) -> AsyncGenerator[int]:
        try:
            while True:
                self.made += 1
                yield self.made
                await asyncio.sleep(0)
        finally:
            self.closed += 1


@pytest.mark.parametrize("choices", [1, 5])
async def test_nothing_more_is_seen_once_its_asker_may_not_ask(
    shelf: Shelf, make_scope: MakeScope, choices: int
) -> None:
    ann = await make_scope()
    grants, endless = WatchedGrants(shelf.database), Endless()
    answers = [grants.guard(ann, (), endless.answer()) for _ in range(choices)]
    async with asyncio.timeout(PATIENCE), aclosing(several(grants, ann, answers)) as events:
        for _ in range(3 * choices):
            await anext(events)
        async with shelf.database.transaction(ann) as transaction:
            await transaction.execute(
                "UPDATE users SET suspended_at = now() WHERE id = $1", ann.principal_id
            )
        # Here all of them have made as much as they may ahead of their reader.
        assert await grants.check() > 0
        with pytest.raises(AccessRevokedError):
            await anext(events)
    assert endless.closed == choices


async def test_who_stops_reading_ends_all_of_them(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    endless = Endless()
    made = [endless.answer() for _ in range(3)]
    async with (
        asyncio.timeout(PATIENCE),
        aclosing(several(WatchedGrants(shelf.database), ann, made)) as events,
    ):
        seen = {(await anext(events))[0] for _ in range(9)}
    assert seen == {0, 1, 2}
    assert endless.closed == 3
