"""Between two steps of a response: a branch is switched, or it is cancelled while nothing can be written."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

from tests.chat.conversations.conftest import said
from tests.chat.conversations.test_branches import PAGE, ROOT, id_of
from tests.chat.conversations.test_turns import ask, conversations_of, shown
from tests.chat.responses.test_inherited import LOADING
from tests.chat.responses.test_sources import id_of as response_of
from tests.chat.responses.test_sources import service
from tests.chat.responses.test_streams import in_background, is_text, read, until
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate, until_blocked


async def test_the_prompt_is_of_the_branch_on_which_it_was_asked(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    conversations = conversations_of(shelf)
    begun = await conversations.create(ann, {}, [said("On the first.")])
    (first,) = await conversations.list_items(ann, begun.id, PAGE)
    await conversations.add(ann, begun.id, [said("On the second.")], ROOT)
    model = ScriptedModel("So it is.")
    gate = shelf.stepped.step(LOADING)
    asking = asyncio.create_task(service(shelf, model).create(ann, ask(begun, "Where?")))
    await gate.wait_until_reached()
    shelf.stepped.gate = None
    await conversations.update(ann, begun.id, {}, branch=id_of(first))
    gate.open()
    await asking
    assert shown(model) == [("user", "On the second."), ("user", "Where?")]
    page = replace(PAGE, branch=id_of(first))
    items = await conversations.list_items(ann, begun.id, page)
    assert [item.number for item in items] == [0]


async def test_what_is_cancelled_while_nothing_can_be_written_leaves_no_gap(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    gate = Gate()
    pieces = [f"{number} " for number in range(1000)]
    responses = service(shelf, ScriptedModel(*pieces, gate=gate))
    begun = response_of(await responses.begin(ann, in_background()))
    watching = responses.watch(ann, begun, -1)
    async with aclosing(watching):
        await until(watching, is_text)
        await gate.wait_until_reached()
        running = responses.runs.running[begun]
        assert running.task is not None
        async with asyncio.timeout(PATIENCE):
            async with shelf.database.transaction(ann) as transaction:
                await responses._process.log.hold(transaction, running.lease)
                gate.open()
                await until_blocked(shelf.database)
                while running.stream._has_room.is_set() or not running.unwritten:
                    await transaction.execute("SELECT 1")
                # It waits for room with an event that has its number.
                running.cancel()
            await running.task
    events = await read(responses.watch(ann, begun, -1))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["status"] == "cancelled"
