"""Conversations are found by what is said in them, as far as who asks may read it at that instant."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import Parlour
from tests.chat.conversations.test_turns import CITED, ask, conversations_of, lend, revoke_all
from tests.chat.responses.test_sources import ANSWER, ASKED, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.chat.conversations.models import parse_item_id
from undercroft.chat.conversations.searching import service as searching
from undercroft.chat.conversations.searching.service import ConversationSearch, FoundConversation
from undercroft.kit.clock import SystemClock
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import GrantAction


def search_of(parlour: Parlour) -> ConversationSearch:
    ledger = Ledger(parlour.database, IdSource(), SystemClock())
    return ConversationSearch(parlour.database, parlour.keys, ledger)


async def find(parlour: Parlour, scope: Member, text: str) -> Sequence[FoundConversation]:
    return (await search_of(parlour).search(scope, text, None, 10)).conversations


def ids(found: Sequence[FoundConversation]) -> list[UUID]:
    return [conversation.id for conversation in found]


async def test_all_of_the_words_in_one_item_the_newest_conversation_first(parlour: Parlour) -> None:
    old = await parlour.begin("The boiler was serviced in May.", "Who by?")
    new = await parlour.begin("Is the BOILER old?", "It was serviced.", "The boiler? Serviced.")
    found = await find(parlour, parlour.ann, "serviced Boiler")
    assert ids(found) == [new.id, old.id]
    assert [item.excerpt for item in found[0].items] == ["The boiler? Serviced."]
    assert ids(await find(parlour, parlour.ann, "who")) == [old.id]
    assert await find(parlour, parlour.ann, "user") == []


async def test_of_a_long_item_the_surroundings_of_a_word_are_told(parlour: Parlour) -> None:
    await parlour.begin("x" * 500 + " boiler " + "y" * 500)
    ((item,),) = [each.items for each in await find(parlour, parlour.ann, "boiler")]
    assert len(item.excerpt) == 300
    assert item.excerpt.index("boiler") == 80


async def test_anothers_are_found_as_long_as_they_may_be_read(
    parlour: Parlour, make_scope: MakeScope
) -> None:
    begun = await parlour.begin("The boiler was serviced in May.")
    assert await find(parlour, parlour.bob, "boiler") == []
    await parlour.share(begun.id, GrantAction.WRITE)
    assert await find(parlour, parlour.bob, "boiler") == []
    given = await parlour.share(begun.id, GrantAction.READ)
    assert ids(await find(parlour, parlour.bob, "boiler")) == [begun.id]
    assert await find(parlour, await make_scope(), "boiler") == []
    await parlour.grants.revoke(parlour.ann, given.id)
    assert await find(parlour, parlour.bob, "boiler") == []


async def test_what_is_deleted_is_not_found(parlour: Parlour) -> None:
    begun = await parlour.begin("The boiler was serviced in May.", "Thanks.")
    ((item,),) = [each.items for each in await find(parlour, parlour.ann, "boiler")]
    item_id = parse_item_id(item.wire["id"])
    assert item_id is not None
    await parlour.conversations.delete_item(parlour.ann, begun.id, item_id)
    assert await find(parlour, parlour.ann, "boiler") == []
    await parlour.conversations.delete(parlour.ann, begun.id)
    assert await find(parlour, parlour.ann, "thanks") == []


async def test_an_answer_is_not_found_by_what_its_reader_may_no_more_read(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, _ = await lend(shelf, ann, bob)
    begun = await conversations_of(shelf).create(bob, {})
    await service(shelf, ScriptedModel(*ANSWER)).create(bob, ask(begun, ASKED, papers))
    search = ConversationSearch(shelf.database, shelf.keys, shelf.ledger)
    ((item,),) = [each.items for each in (await search.search(bob, CITED, None, 10)).conversations]
    assert item.wire["role"] == "assistant"
    await revoke_all(shelf, ann)
    assert (await search.search(bob, CITED, None, 10)).conversations == []
    assert ids((await search.search(bob, ASKED, None, 10)).conversations) == [begun.id]


async def test_a_search_goes_on_where_the_one_before_ended(parlour: Parlour) -> None:
    begun = [(await parlour.begin(f"boiler {number}")).id for number in range(4)]
    first = await search_of(parlour).search(parlour.ann, "boiler", None, 3)
    assert (ids(first.conversations), first.last) == ([*reversed(begun[1:])], begun[1])
    rest = await search_of(parlour).search(parlour.ann, "boiler", first.last, 3)
    assert (ids(rest.conversations), rest.last) == ([begun[0]], None)


async def test_no_more_is_looked_through_than_one_request_may(
    parlour: Parlour, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"_PAGE": 2, "_PAGES_EACH": 2, "_PAGES": 3}.items():
        monkeypatch.setattr(searching, name, value)
    begun = [(await parlour.begin("boiler", "2", "3", "4", "5")).id for _ in range(3)]
    await parlour.begin("boiler", "2", "3", "4")
    found = await search_of(parlour).search(parlour.ann, "boiler", None, 10)
    # Two pages of each: the first of five is beyond them.
    assert (len(found.conversations), found.last) == (1, begun[2])


async def reads_of(parlour: Parlour, scope: Member) -> int:
    async with parlour.database.transaction(scope) as transaction:
        count = await transaction.fetchval(
            "SELECT count(*) FROM ledger_pending WHERE action = 'conversation.read' AND actor_id = $1",
            scope.principal_id,
        )
    assert isinstance(count, int)
    return count


async def test_of_ones_own_what_is_told_is_on_record_and_what_is_looked_through_is_not(
    parlour: Parlour,
) -> None:
    await parlour.begin("boiler")
    await parlour.begin("kettle")
    await find(parlour, parlour.ann, "zeppelin")
    assert await reads_of(parlour, parlour.ann) == 0
    await find(parlour, parlour.ann, "boiler")
    assert await reads_of(parlour, parlour.ann) == 1


async def test_that_words_are_not_in_anothers_is_on_record_as_that_they_are(
    parlour: Parlour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_PAGE", 2)
    begun = await parlour.begin("boiler", "kettle", "boiler", "kettle", "boiler")
    await parlour.begin("boiler")
    await find(parlour, parlour.bob, "zeppelin")
    assert await reads_of(parlour, parlour.bob) == 0
    await parlour.share(begun.id, GrantAction.READ)
    # Once, however many pages it has.
    await find(parlour, parlour.bob, "zeppelin")
    assert await reads_of(parlour, parlour.bob) == 1
    await find(parlour, parlour.bob, "boiler")
    assert await reads_of(parlour, parlour.bob) == 2


@pytest.mark.parametrize("text", [" ", "\n", " ".join(map(str, range(17)))])
async def test_none_or_too_many_words_are_refused(parlour: Parlour, text: str) -> None:
    with pytest.raises(InvalidRequestError):
        await find(parlour, parlour.ann, text)


async def test_odd_words_are_mere_words(parlour: Parlour) -> None:
    begun = await parlour.begin("What (is) [a.*] 锅炉?")
    for text in ("(is)", "[a.*]", "锅", "?"):
        assert ids(await find(parlour, parlour.ann, text)) == [begun.id], text
    assert await find(parlour, parlour.ann, ".*x") == []
