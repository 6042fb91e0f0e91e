"""Branches: what goes on from an earlier item stands beside what has gone on from it before."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import Parlour, said, text_of
from tests.chat.conversations.test_queue import begin, end, reach, sent
from tests.chat.conversations.test_turns import ask, conversations_of, lend, revoke_all, shown
from tests.chat.responses.test_sources import ANSWER, ASKED, service
from tests.chat.responses.test_streams import is_text
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import PATIENCE
from undercroft.chat.conversations.errors import BranchesTooDeepError
from undercroft.chat.conversations.models import (
    DEEPEST_BRANCH,
    ItemPage,
    NewItem,
    Parent,
    parse_item_id,
)
from undercroft.chat.conversations.reading import ReadItem
from undercroft.chat.sources import REDACTED
from undercroft.kit.errors import NotFoundError
from undercroft.kit.sql import load_queries

PAGE = ItemPage(100, is_ascending=True)
SENDERS = 6
ROOT = Parent(None)


def id_of(item: ReadItem) -> UUID:
    item_id = parse_item_id(item.wire["id"])
    assert item_id is not None
    return item_id


async def ids(parlour: Parlour, conversation_id: UUID) -> dict[str, UUID]:
    """The items of the current branch by what they say."""
    items = await parlour.conversations.list_items(parlour.ann, conversation_id, PAGE)
    return {text_of(item): id_of(item) for item in items}


async def add(parlour: Parlour, conversation_id: UUID, parent: Parent | None, *texts: str) -> None:
    items: Sequence[NewItem] = [said(text) for text in texts]
    await parlour.conversations.add(parlour.ann, conversation_id, items, parent)


async def along(parlour: Parlour, conversation_id: UUID, item_id: UUID) -> list[str]:
    page = replace(PAGE, branch=item_id)
    items = await parlour.conversations.list_items(parlour.ann, conversation_id, page)
    return list(map(text_of, items))


async def siblings(parlour: Parlour, conversation_id: UUID, item_id: UUID) -> list[str]:
    items = await parlour.conversations.list_siblings(parlour.ann, conversation_id, item_id, PAGE)
    return list(map(text_of, items))


async def test_each_branch_is_listed_by_itself_and_siblings_are_found(parlour: Parlour) -> None:
    begun = await parlour.begin("a", "b", "c")
    first = await ids(parlour, begun.id)
    await add(parlour, begun.id, Parent(first["a"]), "b2", "c2")
    second = await ids(parlour, begun.id)
    assert list(second) == ["a", "b2", "c2"]
    await add(parlour, begun.id, None, "d2")
    await add(parlour, begun.id, Parent(first["a"]), "b3")
    third = await ids(parlour, begun.id)
    await add(parlour, begun.id, Parent(second["b2"]), "c4")
    fourth = await ids(parlour, begun.id)
    await add(parlour, begun.id, ROOT, "a5", "b5")
    fifth = await ids(parlour, begun.id)
    assert list(fifth) == ["a5", "b5"]
    assert await along(parlour, begun.id, first["c"]) == ["a", "b", "c"]
    assert await along(parlour, begun.id, second["c2"]) == ["a", "b2", "c2", "d2"]
    assert await along(parlour, begun.id, third["b3"]) == ["a", "b3"]
    assert await along(parlour, begun.id, fourth["c4"]) == ["a", "b2", "c4"]
    for each in ("b", "b2", "b3"):
        known = first | second | third
        assert await siblings(parlour, begun.id, known[each]) == ["b", "b2", "b3"]
    assert await siblings(parlour, begun.id, fourth["c4"]) == ["c2", "c4"]
    assert await siblings(parlour, begun.id, second["c2"]) == ["c2", "c4"]
    assert await siblings(parlour, begun.id, first["a"]) == ["a", "a5"]
    assert await siblings(parlour, begun.id, fifth["b5"]) == ["b5"]
    assert await parlour.numbers(begun.id) == list(range(10))


async def test_pages_follow_one_branch(parlour: Parlour) -> None:
    begun = await parlour.begin("a", "b", "c")
    first = await ids(parlour, begun.id)
    await add(parlour, begun.id, Parent(first["a"]), "b2", "c2")
    read: list[str] = []
    after = None
    while items := await parlour.conversations.list_items(
        parlour.ann, begun.id, ItemPage(1, after)
    ):
        read += map(text_of, items)
        after = id_of(items[-1])
    assert read == ["c2", "b2", "a"]


async def test_the_current_branch_is_switched_and_gone_on_with(parlour: Parlour) -> None:
    begun = await parlour.begin("a", "b")
    first = await ids(parlour, begun.id)
    await add(parlour, begun.id, Parent(first["a"]), "b2")
    await parlour.conversations.update(parlour.ann, begun.id, {}, branch=first["b"])
    await add(parlour, begun.id, None, "c")
    assert await parlour.read(parlour.ann, begun.id) == ["a", "b", "c"]
    # To go on from the last item of a branch makes none.
    last = await ids(parlour, begun.id)
    await add(parlour, begun.id, Parent(last["c"]), "d")
    assert await parlour.read(parlour.ann, begun.id) == ["a", "b", "c", "d"]
    async with parlour.database.transaction(parlour.ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM conversation_branches") == 1


async def test_what_is_deleted_keeps_its_children_and_gets_no_more(parlour: Parlour) -> None:
    begun = await parlour.begin("a", "b", "c")
    first = await ids(parlour, begun.id)
    await add(parlour, begun.id, Parent(first["b"]), "c2")
    second = await ids(parlour, begun.id)
    await parlour.conversations.delete_item(parlour.ann, begun.id, first["b"])
    assert await along(parlour, begun.id, first["c"]) == ["a", "c"]
    assert await parlour.read(parlour.ann, begun.id) == ["a", "c2"]
    assert await siblings(parlour, begun.id, second["c2"]) == ["c", "c2"]
    with pytest.raises(NotFoundError) as refused:
        await add(parlour, begun.id, Parent(first["b"]), "c3")
    assert refused.value.param == "parent"


async def test_items_of_another_conversation_are_none(parlour: Parlour) -> None:
    begun, other = await parlour.begin("a"), await parlour.begin("b")
    foreign = (await ids(parlour, other.id))["b"]
    with pytest.raises(NotFoundError):
        await add(parlour, begun.id, Parent(foreign), "c")
    with pytest.raises(NotFoundError):
        await along(parlour, begun.id, foreign)
    with pytest.raises(NotFoundError):
        await siblings(parlour, begun.id, foreign)
    with pytest.raises(NotFoundError):
        await parlour.conversations.update(parlour.ann, begun.id, {}, branch=foreign)
    assert await parlour.read(parlour.ann, begun.id) == ["a"]


async def test_many_branches_at_once_leave_neither_gaps_nor_mixtures(parlour: Parlour) -> None:
    begun = await parlour.begin("a", "b")
    first = await ids(parlour, begun.id)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for name in map(str, range(SENDERS)):
            items = [said(name), said(name)]
            group.create_task(parlour.other().add(parlour.ann, begun.id, items, Parent(first["a"])))
    assert await parlour.numbers(begun.id) == list(range(2 + 2 * SENDERS))
    found = await parlour.conversations.list_siblings(parlour.ann, begun.id, first["b"], PAGE)
    assert sorted(map(text_of, found)) == [*map(str, range(SENDERS)), "b"]
    for item in found[1:]:
        text = text_of(item)
        assert await along(parlour, begun.id, id_of(item)) == ["a", text, text]


async def test_branches_nest_so_deep_and_no_deeper_and_listings_go_through_them_once(
    parlour: Parlour,
) -> None:
    begun = await parlour.begin("0", "aside")
    for depth in range(DEEPEST_BRANCH):
        above = await ids(parlour, begun.id)
        await add(parlour, begun.id, Parent(above[str(depth)]), str(depth + 1), "aside")
    page = replace(PAGE, limit=2 * DEEPEST_BRANCH)
    deepest = await parlour.conversations.list_items(parlour.ann, begun.id, page)
    assert list(map(text_of, deepest)) == [*map(str, range(DEEPEST_BRANCH + 1)), "aside"]
    *_, above, last = map(id_of, deepest)
    with pytest.raises(BranchesTooDeepError):
        await add(parlour, begun.id, Parent(above), "too deep")
    await add(parlour, begun.id, Parent(last), "at the end")
    await add(parlour, begun.id, ROOT, "beside")
    await add(parlour, begun.id, Parent(id_of(deepest[-3])), "from one above")
    numbers = await parlour.numbers(begun.id)
    assert numbers == list(range(len(numbers)))
    loops = await loops_through_branches(parlour, begun.id, last)
    assert loops
    assert max(loops) == 1


async def loops_through_branches(
    parlour: Parlour, conversation_id: UUID, item_id: UUID
) -> list[int]:
    """How often the branches of an item are gone through to list what is on them."""
    sql = load_queries("undercroft.chat.conversations")["list_items"].sql
    arguments = (conversation_id, None, 100, True, None, None, item_id, None)
    async with parlour.database.transaction(parlour.ann) as transaction:
        # As a planner chooses that takes every table for an empty one.
        for way in ("hashjoin", "mergejoin"):
            await transaction.execute(f"SET LOCAL enable_{way} = off")
        (plan,) = json.loads(
            await transaction.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
        )
    nodes, loops = [plan["Plan"]], list[int]()
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node.get("CTE Name") in {"path", "along"} and node["Node Type"] == "CTE Scan":
            loops.append(node["Actual Loops"])
    return loops


async def test_an_edit_is_asked_after_its_own_branch_and_answered_there(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    conversations = conversations_of(shelf)
    begun = await conversations.create(ann, {}, [said("I am Ann.")])
    model = ScriptedModel("So it is.")
    responses = service(shelf, model)
    await responses.create(ann, ask(begun, "Who?"))
    hello, who, _ = await conversations.list_items(ann, begun.id, PAGE)
    edited = replace(ask(begun, "Who, really?"), parent=Parent(id_of(hello)))
    await responses.create(ann, edited)
    assert shown(model) == [("user", "I am Ann."), ("user", "Who, really?")]
    await responses.create(ann, ask(begun, "And now?"))
    assert [text for _, text in shown(model)] == [
        "I am Ann.",
        "Who, really?",
        "So it is.",
        "And now?",
    ]
    page = replace(PAGE, branch=id_of(who))
    assert [text_of(item) for item in await conversations.list_items(ann, begun.id, page)] == [
        "I am Ann.",
        "Who?",
        "So it is.",
    ]


async def test_an_answer_goes_to_its_question_though_the_branch_was_switched(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    conversations = conversations_of(shelf)
    begun = await conversations.create(ann, {}, [said("a"), said("b")])
    responses = service(shelf, ScriptedModel("At ", endless=True))
    _, b = await conversations.list_items(ann, begun.id, PAGE)
    asked = replace(sent(begun, "When?"), parent=ROOT)
    first = await begin(responses, ann, asked)
    await reach(responses, ann, first, is_text)
    await conversations.update(ann, begun.id, {}, branch=id_of(b))
    await conversations.add(ann, begun.id, [said("c")])
    await responses.cancel(ann, first)
    assert await end(responses, ann, first) == "cancelled"
    assert [text_of(item) for item in await conversations.list_items(ann, begun.id, PAGE)] == [
        "a",
        "b",
        "c",
    ]
    async with shelf.database.transaction(ann) as transaction:
        branches = await transaction.fetch(
            "SELECT branch FROM conversation_items WHERE response_id = $1", first
        )
    assert [row["branch"] for row in branches] == [1, 1]


async def test_what_was_said_from_documents_is_removed_on_every_branch(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, _ = await lend(shelf, ann, bob)
    conversations = conversations_of(shelf)
    begun = await conversations.create(bob, {}, [said("Hello.")])
    responses = service(shelf, ScriptedModel(*ANSWER))
    (hello,) = await conversations.list_items(bob, begun.id, PAGE)
    for _ in range(2):
        asked = replace(ask(begun, ASKED, papers), parent=Parent(id_of(hello)))
        await responses.create(bob, asked)
    questions = await conversations.list_siblings(
        bob, begun.id, id_of((await conversations.list_items(bob, begun.id, PAGE))[1]), PAGE
    )
    assert len(questions) == 2
    await revoke_all(shelf, ann)
    for question in questions:
        page = replace(PAGE, branch=id_of(question))
        *_, answer = await conversations.list_items(bob, begun.id, page)
        assert text_of(answer) == REDACTED
