"""Conversations: who begins, reads, extends and deletes them, in which order, and what goes on record."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from tests.chat.conversations.conftest import Parlour, said, text_of
from tests.conftest import MakeScope
from undercroft.chat.conversations.errors import ItemTooLargeError, TooManyItemsError
from undercroft.chat.conversations.models import (
    LARGEST_ITEM,
    MOST_ITEMS,
    ItemPage,
    NewItem,
    parse_item_id,
)
from undercroft.chat.conversations.reading import is_followed
from undercroft.kit.errors import NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction

READ, WRITE, SHARE = GrantAction.READ, GrantAction.WRITE, GrantAction.SHARE
SNOW: Final = "\N{SNOWMAN}"


async def test_items_stand_in_the_order_in_which_they_came(parlour: Parlour) -> None:
    begun = await parlour.begin("one", "two")
    await parlour.conversations.add(parlour.ann, begun.id, [said("three"), said(SNOW)])
    assert await parlour.read(parlour.ann, begun.id) == ["one", "two", "three", SNOW]
    assert await parlour.numbers(begun.id) == [0, 1, 2, 3]
    found = await parlour.conversations.get(parlour.ann, begun.id)
    assert (found.metadata, found.next_number) == ({"room": "blue"}, 4)


async def test_pages_follow_each_other_in_either_direction(parlour: Parlour) -> None:
    texts = [str(number) for number in range(7)]
    begun = await parlour.begin(*texts)
    for is_ascending in (True, False):
        seen: list[str] = []
        after: UUID | None = None
        while True:
            page = ItemPage(3, after, is_ascending=is_ascending)
            items = await parlour.conversations.list_items(parlour.ann, begun.id, page)
            if not items:
                break
            seen += map(text_of, items)
            after = parse_item_id(items[-1].wire["id"])
        assert seen == (texts if is_ascending else texts[::-1])


async def test_a_page_after_nothing_is_refused_by_name(parlour: Parlour) -> None:
    begun = await parlour.begin("one")
    other = await parlour.begin("other")
    elsewhere = await parlour.conversations.list_items(parlour.ann, other.id, ItemPage(1))
    page = ItemPage(9, parse_item_id(elsewhere[0].wire["id"]))
    with pytest.raises(NotFoundError) as refused:
        await parlour.conversations.list_items(parlour.ann, begun.id, page)
    assert refused.value.param == "after"


async def test_a_conversation_without_items_has_an_empty_page(parlour: Parlour) -> None:
    begun = await parlour.begin()
    assert await parlour.read(parlour.ann, begun.id) == []


async def test_a_deleted_item_leaves_its_number_and_its_place_in_pages(parlour: Parlour) -> None:
    begun = await parlour.begin("one", "two", "three")
    items = await parlour.conversations.list_items(
        parlour.ann, begun.id, ItemPage(9, is_ascending=True)
    )
    second = parse_item_id(items[1].wire["id"])
    assert second is not None
    await parlour.conversations.delete_item(parlour.ann, begun.id, second)
    await parlour.conversations.add(parlour.ann, begun.id, [said("four")])
    assert await parlour.read(parlour.ann, begun.id) == ["one", "three", "four"]
    assert await parlour.numbers(begun.id) == [0, 1, 2, 3]
    rest = await parlour.conversations.list_items(
        parlour.ann, begun.id, ItemPage(9, second, is_ascending=True)
    )
    assert list(map(text_of, rest)) == ["three", "four"]
    for again in (parlour.conversations.get_item, parlour.conversations.delete_item):
        with pytest.raises(NotFoundError, match="No item"):
            await again(parlour.ann, begun.id, second)


OPERATIONS: Final[
    dict[str, tuple[Callable[[Parlour, UUID, UUID], Awaitable[object]], set[str]]]
] = {
    "get": (lambda p, v, _: p.conversations.get(p.bob, v), {READ}),
    "list": (lambda p, v, _: p.read(p.bob, v), {READ}),
    "item": (lambda p, v, i: p.conversations.get_item(p.bob, v, i), {READ}),
    "update": (lambda p, v, _: p.conversations.update(p.bob, v, {}), {WRITE}),
    "add": (lambda p, v, _: p.conversations.add(p.bob, v, [said("a")]), {WRITE}),
    "delete": (lambda p, v, _: p.conversations.delete(p.bob, v), set()),
    "forget": (lambda p, v, i: p.conversations.delete_item(p.bob, v, i), set()),
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_exactly_its_actions_allow_it_until_they_are_revoked(
    parlour: Parlour, name: str
) -> None:
    operation, allowing = OPERATIONS[name]
    begun = await parlour.begin("one")
    (item,) = await parlour.conversations.list_items(parlour.ann, begun.id, ItemPage(1))
    item_id = parse_item_id(item.wire["id"])
    assert item_id is not None
    with pytest.raises(NotFoundError, match="No conversation"):
        await operation(parlour, begun.id, item_id)
    for action in (READ, WRITE, SHARE):
        grant = await parlour.share(begun.id, action)
        if action in allowing:
            await operation(parlour, begun.id, item_id)
        else:
            with pytest.raises(NotGrantedError):
                await operation(parlour, begun.id, item_id)
        await parlour.grants.revoke(parlour.ann, grant.id)
        with pytest.raises(NotFoundError, match="No conversation"):
            await operation(parlour, begun.id, item_id)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_another_tenant_sees_nothing_of_it(
    parlour: Parlour, make_scope: MakeScope, name: str
) -> None:
    operation, _ = OPERATIONS[name]
    begun = await parlour.begin("one")
    stranger = replace(parlour, bob=await make_scope())
    with pytest.raises(NotFoundError, match="No conversation"):
        await operation(stranger, begun.id, begun.id)


async def test_what_is_done_and_refused_is_on_record(parlour: Parlour) -> None:
    begun = await parlour.begin("one")
    grant = await parlour.share(begun.id, READ)
    await parlour.read(parlour.bob, begun.id)
    with pytest.raises(NotGrantedError):
        await parlour.conversations.add(parlour.bob, begun.id, [said("two")])
    await parlour.conversations.update(parlour.ann, begun.id, {})
    await parlour.conversations.delete(parlour.ann, begun.id)
    async with parlour.database.transaction(parlour.ann) as transaction:
        rows = await transaction.fetch(
            "SELECT action, outcome, grant_id FROM ledger_pending WHERE resource = $1 ORDER BY id",
            f"conv_{begun.id.hex}",
        )
    assert [(row["action"], row["outcome"], row["grant_id"]) for row in rows] == [
        ("conversation.create", "allowed", None),
        ("grant.create", "allowed", grant.id),
        ("conversation.read", "allowed", grant.id),
        ("conversation.add_items", "denied", None),
        ("conversation.update", "allowed", None),
        ("conversation.delete", "allowed", None),
    ]


async def test_an_item_that_is_too_long_is_refused_with_all_beside_it(parlour: Parlour) -> None:
    begun = await parlour.begin()
    long = NewItem("message", {"content": "a" * LARGEST_ITEM})
    with pytest.raises(ItemTooLargeError):
        await parlour.conversations.add(parlour.ann, begun.id, [said("one"), long])
    assert await parlour.numbers(begun.id) == []


@pytest.mark.parametrize("is_ascending", [True, False])
async def test_a_page_of_long_items_ends_before_it_fills_the_memory(
    parlour: Parlour, is_ascending: bool
) -> None:
    begun = await parlour.begin()
    for number in range(12):
        long = said(f"{number} " + "a" * 1_000_000)
        await parlour.conversations.add(parlour.ann, begun.id, [long])
    pages: list[list[int]] = []
    after: UUID | None = None
    is_part = True
    while is_part:
        page = ItemPage(101, after, is_ascending=is_ascending)
        items = await parlour.conversations.list_items(parlour.ann, begun.id, page)
        pages.append([int(text_of(item).split()[0]) for item in items])
        is_part, after = is_followed(items, 100), parse_item_id(items[-1].wire["id"])
    assert list(map(len, pages)) == [8, 4]
    numbers = [number for each in pages for number in each]
    assert numbers == list(range(12))[:: 1 if is_ascending else -1]


async def test_a_conversation_that_is_full_takes_no_more(parlour: Parlour) -> None:
    begun = await parlour.begin()
    async with parlour.database.transaction(parlour.ann) as transaction:
        await transaction.execute(
            "INSERT INTO conversation_items (tenant_id, conversation_id, number, id, kind, ending)"
            " SELECT current_tenant(), $1, n, gen_random_uuid(), 'message', 'deleted'"
            " FROM generate_series(0, $2::int - 2) AS n",
            begun.id,
            MOST_ITEMS,
        )
        await transaction.execute(
            "UPDATE conversations SET next_number = $2 WHERE id = $1", begun.id, MOST_ITEMS - 1
        )
    with pytest.raises(TooManyItemsError):
        await parlour.conversations.add(parlour.ann, begun.id, [said("one"), said("two")])
    await parlour.conversations.add(parlour.ann, begun.id, [said("last")])
    with pytest.raises(TooManyItemsError):
        await parlour.conversations.add(parlour.ann, begun.id, [said("one more")])
    assert await parlour.read(parlour.ann, begun.id) == ["last"]


async def test_keys_go_with_the_conversation(parlour: Parlour) -> None:
    begun = await parlour.begin("one")
    await parlour.conversations.delete(parlour.ann, begun.id)
    async with parlour.database.transaction(parlour.ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM data_keys") == 0
        assert await transaction.fetchval("SELECT count(*) FROM conversation_items") == 0


async def test_the_database_lets_nobody_leave_a_gap(
    parlour: Parlour, database_urls: DatabaseUrls
) -> None:
    begun = await parlour.begin("one", "two")
    insert = (
        "INSERT INTO conversation_items (tenant_id, conversation_id, number, id, kind, ending)"
        " VALUES (current_tenant(), $1, $2, gen_random_uuid(), 'message', 'deleted')"
    )
    for number, error in ((3, asyncpg.ForeignKeyViolationError), (1, asyncpg.UniqueViolationError)):
        with pytest.raises(error):
            async with parlour.database.transaction(parlour.ann) as transaction:
                await transaction.execute(insert, begun.id, number)
    for change in (
        "DELETE FROM conversation_items WHERE number = 0",
        "UPDATE conversation_items SET number = 5 WHERE number = 1",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with parlour.database.transaction(parlour.ann) as transaction:
                await transaction.execute(change)
    del database_urls
