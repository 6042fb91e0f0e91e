"""Comments and what happens at the same instant: a revocation, the last comment there is room for."""

import asyncio

import pytest

from tests.stepping import PATIENCE, Gate, until_blocked
from tests.vault.comments.conftest import Margin, make_comments
from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import GrantAction, Way
from undercroft.sharing.uses import GrantUses
from undercroft.vault.comments.errors import TooManyCommentsError
from undercroft.vault.comments.models import MOST_COMMENTS, Comment
from undercroft.vault.comments.repository import CommentRepository

COMMENT = GrantAction.COMMENT


class SteppedComments(CommentRepository):
    """Stops before a comment is written."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def insert_comment(self, transaction: Transaction, *args: object) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self._gate.pass_through()
        return await super().insert_comment(transaction, *args)  # pyright: ignore[reportArgumentType]


async def test_of_two_that_write_the_last_comment_there_is_one(margin: Margin) -> None:
    room = margin.room
    await margin.fill(MOST_COMMENTS - 1)
    gate = Gate()
    first = make_comments(room.database, room)
    first._repository = SteppedComments(gate)
    writing = asyncio.create_task(first.create(room.ann, room.document_id, "a"))
    await gate.wait_until_reached()
    other = asyncio.create_task(margin.write(room.ann, "b"))
    await until_blocked(room.database)
    gate.open()
    await writing
    with pytest.raises(TooManyCommentsError):
        await other
    assert await margin.count() == MOST_COMMENTS


class SteppedUses(GrantUses):
    """Stops before or after grants are held."""

    def __init__(self, gate: Gate, when: str) -> None:
        super().__init__()
        self._gate, self._when = gate, when

    async def hold(self, transaction: Transaction, way: Way) -> None:
        if self._when == "before":
            await self._gate.pass_through()
        await super().hold(transaction, way)
        if self._when == "after":
            await self._gate.pass_through()


def begin(margin: Margin, gate: Gate, when: str) -> asyncio.Task[Comment]:
    """Bob's comment, that stops there."""
    room = margin.room
    comments = make_comments(room.database, room)
    comments._access._uses = SteppedUses(gate, when)
    return asyncio.create_task(comments.create(room.bob, room.document_id, "a"))


async def test_nothing_is_written_after_a_revocation_that_came_before_the_grant_was_held(
    margin: Margin,
) -> None:
    grant = await margin.room.share(COMMENT)
    gate = Gate()
    writing = begin(margin, gate, "before")
    await gate.wait_until_reached()
    async with asyncio.timeout(PATIENCE):
        await margin.room.grants.revoke(margin.room.ann, grant.id)
    gate.open()
    with pytest.raises(GrantEndedError):
        await writing
    assert await margin.count() == 0


async def test_a_revocation_waits_for_a_comment_that_is_being_written(margin: Margin) -> None:
    grant = await margin.room.share(COMMENT)
    gate = Gate()
    writing = begin(margin, gate, "after")
    await gate.wait_until_reached()
    revoking = asyncio.create_task(margin.room.grants.revoke(margin.room.ann, grant.id))
    await until_blocked(margin.room.database)
    assert not revoking.done()
    gate.open()
    await writing
    await revoking
    with pytest.raises(NotFoundError):
        await margin.write(margin.room.bob)
    assert await margin.count() == 1
