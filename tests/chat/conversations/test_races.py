"""Conversations and what happens at the same instant: others that add, a revocation, a deletion."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import Parlour, make_conversations, said
from tests.stepping import PATIENCE, Gate, until_blocked
from undercroft.chat.conversations.models import ItemPage, parse_item_id
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import GrantAction, Way
from undercroft.sharing.uses import GrantUses

SENDERS = 24
EACH = 5


class SteppedItems(ConversationRepository):
    """Stops before items are written."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def insert_items(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        first_number: int,
        items: Sequence[tuple[UUID, str, UUID | None, bytes, UUID | None]],
        response_id: UUID | None,
        branch: int,
    ) -> None:
        await self._gate.pass_through()
        await super().insert_items(
            transaction, conversation_id, first_number, items, response_id, branch
        )


async def test_of_two_that_add_at_once_the_second_waits_and_comes_after(parlour: Parlour) -> None:
    begun = await parlour.begin("zero")
    gate = Gate()
    first = parlour.other()
    first._appender._repository = SteppedItems(gate)
    adding = asyncio.create_task(first.add(parlour.ann, begun.id, [said("one"), said("two")]))
    await gate.wait_until_reached()
    other = asyncio.create_task(parlour.conversations.add(parlour.ann, begun.id, [said("three")]))
    await until_blocked(parlour.database)
    gate.open()
    await adding
    await other
    assert await parlour.read(parlour.ann, begun.id) == ["zero", "one", "two", "three"]


async def test_many_that_add_at_once_leave_neither_gaps_nor_duplicates(
    parlour: Parlour, database_urls: DatabaseUrls
) -> None:
    begun = await parlour.begin()

    async def send(conversations: object, name: int) -> None:
        service = conversations
        for number in range(EACH):
            texts = [said(f"{name}.{number}.{part}") for part in range(1 + name % 3)]
            await service.add(parlour.ann, begun.id, texts)  # pyright: ignore[reportAttributeAccessIssue]

    async with (
        Database(database_urls.service, clock=SystemClock(), size=8) as one,
        Database(database_urls.service, clock=SystemClock(), size=8) as two,
    ):
        processes = [make_conversations(one, parlour.keys), make_conversations(two, parlour.keys)]
        async with asyncio.timeout(PATIENCE * 5), asyncio.TaskGroup() as group:
            for name in range(SENDERS):
                group.create_task(send(processes[name % 2], name))
    numbers = await parlour.numbers(begun.id)
    assert numbers == list(range(EACH * sum(1 + name % 3 for name in range(SENDERS))))
    texts: list[str] = []
    after: UUID | None = None
    while True:
        items = await parlour.conversations.list_items(
            parlour.ann, begun.id, ItemPage(100, after, is_ascending=True)
        )
        if not items:
            break
        assert [item.number for item in items] == list(range(len(texts), len(texts) + len(items)))
        texts += [item.wire["content"][0]["text"] for item in items]
        after = parse_item_id(items[-1].wire["id"])
    for name in range(SENDERS):
        own = [text for text in texts if text.startswith(f"{name}.")]
        # Each sender's in the order in which they were sent, and those of one call side by side.
        assert own == [f"{name}.{n}.{part}" for n in range(EACH) for part in range(1 + name % 3)]
        for number in range(EACH):
            places = [
                place for place, text in enumerate(texts) if text.startswith(f"{name}.{number}.")
            ]
            assert places == list(range(places[0], places[0] + 1 + name % 3))


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


def begin(
    parlour: Parlour, conversation_id: UUID, gate: Gate, when: str
) -> "asyncio.Task[list[dict[str, object]]]":
    """Bob's turn, that stops there."""
    other = parlour.other()
    other._access._uses = SteppedUses(gate, when)
    return asyncio.create_task(other.add(parlour.bob, conversation_id, [said("a")]))


async def test_nothing_is_added_after_a_revocation_that_came_before_the_grant_was_held(
    parlour: Parlour,
) -> None:
    begun = await parlour.begin()
    grant = await parlour.share(begun.id, GrantAction.WRITE)
    gate = Gate()
    adding = begin(parlour, begun.id, gate, "before")
    await gate.wait_until_reached()
    async with asyncio.timeout(PATIENCE):
        await parlour.grants.revoke(parlour.ann, grant.id)
    gate.open()
    with pytest.raises(GrantEndedError):
        await adding
    assert await parlour.numbers(begun.id) == []


async def test_a_revocation_waits_for_what_is_being_added(parlour: Parlour) -> None:
    begun = await parlour.begin()
    grant = await parlour.share(begun.id, GrantAction.WRITE)
    gate = Gate()
    adding = begin(parlour, begun.id, gate, "after")
    await gate.wait_until_reached()
    revoking = asyncio.create_task(parlour.grants.revoke(parlour.ann, grant.id))
    await until_blocked(parlour.database)
    assert not revoking.done()
    gate.open()
    await adding
    await revoking
    with pytest.raises(NotFoundError):
        await parlour.conversations.add(parlour.bob, begun.id, [said("b")])
    assert await parlour.numbers(begun.id) == [0]


async def test_whoever_adds_to_what_is_being_deleted_finds_nothing(parlour: Parlour) -> None:
    begun = await parlour.begin("one")
    gate = Gate()
    first = parlour.other()
    first._appender._repository = SteppedItems(gate)
    adding = asyncio.create_task(first.add(parlour.ann, begun.id, [said("two")]))
    await gate.wait_until_reached()
    deleting = asyncio.create_task(parlour.conversations.delete(parlour.ann, begun.id))
    await until_blocked(parlour.database)
    gate.open()
    await adding
    await deleting
    with pytest.raises(NotFoundError):
        await parlour.read(parlour.ann, begun.id)
    with pytest.raises(NotFoundError):
        await parlour.conversations.add(parlour.ann, begun.id, [said("three")])
