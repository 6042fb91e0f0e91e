"""Conversations and messages under the names that clients give them."""

import asyncio
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import Parlour, said
from tests.stepping import Gate, until_blocked
from undercroft.chat.conversations.chats.service import ChatService, reference_of
from undercroft.chat.conversations.models import IfBusy, ItemPage, Parent, parse_item_id
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.service import ConversationService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction


class SteppedBeginning(ConversationRepository):
    """Stops once a conversation is inserted."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def insert_conversation(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        data_key_id: UUID,
        sealed: bytes,
        if_busy: IfBusy,
        reference: UUID | None = None,
    ) -> datetime | None:
        created_at = await super().insert_conversation(
            transaction, conversation_id, data_key_id, sealed, if_busy, reference
        )
        await self._gate.pass_through()
        return created_at


def chats_of(parlour: Parlour, conversations: ConversationService | None = None) -> ChatService:
    ledger = Ledger(parlour.database, IdSource(), SystemClock())
    return ChatService(
        parlour.database, parlour.keys, ledger, conversations or parlour.conversations
    )


async def test_a_chat_is_the_conversation_that_its_owner_calls_so(parlour: Parlour) -> None:
    chats, ann, bob = chats_of(parlour), parlour.ann, parlour.bob
    assert await chats.find(ann, "kitchen") is None
    begun = await chats.begin(ann, "kitchen")
    assert await chats.find(ann, "kitchen") == begun
    assert await chats.begin(ann, "kitchen") == begun
    # Another's of the same name is another one, and its id is not.
    assert await chats.find(bob, "kitchen") is None
    others = await chats.begin(bob, "kitchen")
    assert others != begun
    assert await chats.find(ann, render_id("conv_", others)) == others
    with pytest.raises(NotFoundError):
        await chats.find(ann, "conv_kitchen")
    await parlour.conversations.delete(ann, begun)
    assert await chats.find(ann, "kitchen") is None
    assert await chats.begin(ann, "kitchen") not in {begun, others}


async def test_of_two_that_begin_a_chat_at_once_one_does(parlour: Parlour) -> None:
    gate = Gate()
    first = parlour.other()
    first._repository = SteppedBeginning(gate)
    beginning = asyncio.create_task(chats_of(parlour, first).begin(parlour.ann, "kitchen"))
    await gate.wait_until_reached()
    other = asyncio.create_task(chats_of(parlour).begin(parlour.ann, "kitchen"))
    await until_blocked(parlour.database)
    gate.open()
    assert await beginning == await other
    async with parlour.database.transaction(parlour.ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM conversations") == 1


async def test_a_message_is_known_by_its_name_its_item_and_its_turn(parlour: Parlour) -> None:
    chats, ann = chats_of(parlour), parlour.ann
    begun = (await parlour.begin("zero")).id

    async def add(name: str, parent: Parent | None = None) -> UUID:
        item = replace(said(name), reference=reference_of(name))
        (added,) = await parlour.conversations.add(ann, begun, [item], parent)
        item_id = parse_item_id(added["id"])
        assert item_id is not None
        return item_id

    async def parent_of(name: str, named_id: UUID | None = None) -> Parent | None:
        return await chats.find_parent(ann, begun, named_id, name)

    (first,) = await parlour.conversations.list_items(ann, begun, ItemPage(1))
    zero = parse_item_id(first.wire["id"])
    assert zero is not None
    one = await add("one")
    two = await add("two")
    assert await parent_of("one") == Parent(zero)
    assert await parent_of("two") == Parent(one)
    assert await parent_of("nothing") is None
    assert await parent_of("nothing", zero) == Parent(None)
    # What is said again under a name goes on from the same, whichever branch is the current one.
    again = await add("two", Parent(one))
    assert await parent_of("two") == await parent_of("nothing", again) == Parent(one)
    three = await add("three", Parent(two))
    assert await parent_of("three") == Parent(two)
    # What is deleted is no more gone on from, but what was before it.
    await parlour.conversations.delete_item(ann, begun, one)
    assert await parent_of("two") == Parent(zero)
    assert await parent_of("nothing", three) == Parent(two)


async def test_where_a_message_stands_is_told_to_readers_alone(parlour: Parlour) -> None:
    chats, bob = chats_of(parlour), parlour.bob
    begun = (await parlour.begin("zero")).id
    with pytest.raises(NotFoundError):
        await chats.find_parent(bob, begun, None, "zero")
    await parlour.share(begun, GrantAction.WRITE)
    with pytest.raises(NotGrantedError):
        await chats.find_parent(bob, begun, None, "zero")
    await parlour.share(begun, GrantAction.READ)
    assert await chats.find_parent(bob, begun, None, "zero") is None
