"""An answer that breaks off and cannot go on begins again, where that was asked for, as items of its own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from tests.chat.responses.test_going_on import PIECES, begin, said
from tests.chat.responses.test_settled_apart import limit_tokens, used
from tests.chat.responses.test_sources import RENT, id_of, service
from tests.chat.responses.test_streams import asking, in_background, is_text, lapse, read, until
from tests.chat.scripted import SCRIPTED, CallingModel, ScriptedModel
from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    GenerationRequest,
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
    TextDelta,
    ToolCallDelta,
)
from undercroft.chat.responses.events import MOST_ATTEMPTS
from undercroft.chat.responses.models import ResponseRequest
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.metering.service import UsageRounds

Step: TypeAlias = GenerationEvent | UndercroftError

BROKEN = UndercroftError(
    "It broke off.", kind=ErrorKind.UPSTREAM_FAILED, code="upstream_broken_off"
)
FIRST, SECOND = "The monthly rent is £1,250.00. ", "It is £1,250.00 a month."


class UnsteadyModel(CallingModel):
    """Says what the test wrote for each time that it is asked, and breaks off where that has an error."""

    def __init__(self, *rounds: Sequence[Step]) -> None:
        super().__init__(*rounds)  # pyright: ignore[reportArgumentType] -- errors are taken out below

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        async for event in super().generate(request):
            if isinstance(event, UndercroftError):
                raise event
            yield event


def again(request: ResponseRequest) -> ResponseRequest:
    return replace(request, begins_again=True)


def texts(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What the response that they end with says, and how whole each item is."""
    output = events[-1]["response"]["output"]
    return [
        (each["status"], each["content"][0]["text"]) for each in output if each["type"] == "message"
    ]


def assert_in_order(events: list[dict[str, Any]]) -> None:
    """Numbered without a gap, each item added once and done once, with nothing said of it after that."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    done: set[int] = set()
    for event in events:
        index = event.get("output_index")
        if index is not None:
            assert index not in done, event
            if event["type"] == "response.output_item.done":
                done.add(index)
    if events[-1]["type"] != "response.failed":
        assert done == set(range(len(events[-1]["response"]["output"])))
    for index, item in enumerate(events[-1]["response"]["output"]):
        (told,) = (
            event["item"]
            for event in events
            if event["type"] == "response.output_item.done" and event["output_index"] == index
        )
        assert told == item


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("searches", [True, False])
async def test_a_server_that_breaks_off_is_asked_anew_for_another_item(
    shelf: Shelf, make_scope: MakeScope, store: bool, searches: bool
) -> None:
    ann = await make_scope()
    collections = [(await shelf.fill(ann, {"lease.txt": RENT}))[0]] if searches else []
    model = UnsteadyModel([TextDelta(FIRST), TextDelta("And "), BROKEN], [TextDelta(SECOND)])
    responses = service(shelf, model)
    events = await read(responses.stream(ann, again(asking(*collections, store=store))))
    assert_in_order(events)
    (broken, part), (status, whole) = texts(events)
    assert (broken, status) == ("incomplete", "completed")
    assert part.startswith(FIRST[:29])
    assert whole.startswith(SECOND[:23])
    types = [event["type"] for event in events]
    assert types.count("response.in_progress") == 2
    assert types.count("response.file_search_call.completed") == searches
    assert [each.prefix for each in model.requests] == ["", ""]
    # What broke off was paid for, and is told with the rest.
    assert events[-1]["response"]["usage"]["output_tokens"] == 7 + 12
    assert events[-1]["response"]["usage"]["input_tokens"] > 11
    if store:
        assert await responses.get(ann, id_of(events[0]["response"])) == events[-1]["response"]


async def test_nobody_gets_another_answer_who_did_not_ask_for_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = UnsteadyModel([TextDelta(FIRST), BROKEN], [TextDelta(SECOND)])
    events = await read(service(shelf, model).stream(ann, asking()))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert texts(events) == [("incomplete", FIRST)]
    assert len(model.requests) == 1


async def test_what_a_takeover_cannot_go_on_with_begins_again(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    await limit_tokens(shelf, ann)
    gate, other = Gate(), ScriptedModel(SECOND)
    first, second = service(shelf, ScriptedModel(*PIECES, gate=gate)), service(shelf, other)
    begun, seen = await begin(first, gate, ann, again(in_background(collection)))
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert events[: len(seen)] == seen
    assert_in_order(events)
    (broken, part), (status, whole) = texts(events)
    assert (broken, part) == ("incomplete", said(seen))
    assert (status, whole.startswith(SECOND)) == ("completed", True)
    assert [each.prefix for each in other.requests] == [""]
    assert await second.get(ann, begun) == events[-1]["response"]
    async with shelf.database.transaction(ann) as transaction:
        kept = await transaction.fetchval(
            "SELECT count(*) FROM response_passages WHERE response_id = $1", begun
        )
    assert kept == 1
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.task for each in second.runs.running.values() if each.task))
    await UsageRounds(shelf.database).add_up()
    requests, tokens = await used(shelf, ann)
    usage = events[-1]["response"]["usage"]
    assert (requests, tokens) == (1, usage["input_tokens"] + usage["output_tokens"])
    gate.open()
    await first.takeover.renew()
    await first.runs.close()


async def test_an_attempt_whose_process_dies_is_gone_on_with_or_begun_again_in_the_next(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    gates = Gate(), Gate()
    first, second = (service(shelf, ScriptedModel(*PIECES, gate=gate)) for gate in gates)
    third = service(shelf, ScriptedModel(SECOND))
    begun, _ = await begin(first, gates[0], ann, again(in_background()))
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    watching = second.watch(ann, begun, -1)
    seen = await until(watching, lambda event: is_text(event) and event["output_index"] == 1)
    await gates[1].wait_until_reached()
    await watching.aclose()
    await lapse(database_urls)
    assert await third.takeover.take_over() == 1
    events = await read(third.watch(ann, begun, -1))
    assert events[: len(seen)] == seen
    assert_in_order(events)
    part = ("incomplete", PIECES[0])
    assert texts(events) == [part, part, ("completed", SECOND)]
    assert await third.get(ann, begun) == events[-1]["response"]
    for gate, each in zip(gates, (first, second), strict=True):
        gate.open()
        await each.takeover.renew()
        await each.runs.close()


async def test_it_does_not_begin_for_ever(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    model = UnsteadyModel([TextDelta(FIRST), BROKEN])
    events = await read(service(shelf, model).stream(ann, again(asking())))
    assert_in_order(events)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == "upstream_broken_off"
    assert len(model.requests) == MOST_ATTEMPTS
    assert texts(events) == [("incomplete", FIRST)] * MOST_ATTEMPTS


async def test_what_is_no_interruption_ends_it(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    refused = UndercroftError("No.", kind=ErrorKind.UPSTREAM_FAILED, code="upstream_too_large")
    model = UnsteadyModel([TextDelta(FIRST), refused], [TextDelta(SECOND)])
    events = await read(service(shelf, model).stream(ann, again(asking())))
    assert events[-2]["code"] == "upstream_too_large"
    assert len(model.requests) == 1


async def test_arguments_are_never_gone_on_with(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    half = ToolCallDelta(0, '{"city": "Ha', id="a", name="weather")
    whole = ToolCallDelta(0, '{"city": "York"}', id="b", name="weather")
    model = UnsteadyModel([half, BROKEN], [whole])
    responses = service(shelf, model)
    events = await read(responses.stream(ann, again(asking())))
    assert_in_order(events)
    assert [
        (each["status"], each["call_id"], each["arguments"])
        for each in events[-1]["response"]["output"]
    ] == [("incomplete", "a", '{"city": "Ha'), ("completed", "b", '{"city": "York"}')]
    assert await read(responses.watch(ann, id_of(events[0]["response"]), -1)) == events


async def test_half_of_a_call_is_closed_by_whoever_takes_it_over(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann, gate = await make_scope(), Gate()

    class HeldModel(UnsteadyModel):
        async def generate(
            self, request: GenerationRequest
        ) -> AsyncGenerator[GenerationEvent, None]:
            async for event in super().generate(request):
                yield event
                await gate.pass_through()

    half = ToolCallDelta(0, '{"city": "Ha', id="a", name="weather")
    whole = ToolCallDelta(0, '{"city": "York"}', id="b", name="weather")
    first, second = service(shelf, HeldModel([half])), service(shelf, UnsteadyModel([whole]))
    begun = id_of(await first.begin(ann, again(in_background())))
    await gate.wait_until_reached()
    await first._process.writer.settle(first.runs.running[begun].stream)
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert_in_order(events)
    assert [(each["status"], each["call_id"]) for each in events[-1]["response"]["output"]] == [
        ("incomplete", "a"),
        ("completed", "b"),
    ]
    gate.open()
    await first.takeover.renew()
    await first.runs.close()


async def test_thoughts_of_what_broke_off_go_back_to_nobody(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    thought = [
        ReasoningDelta("Hm."),
        ReasoningEnded(Reasoning("calling", SCRIPTED, {"text": "Hm."})),
    ]
    model = UnsteadyModel([*thought, TextDelta(FIRST), BROKEN], [*thought, TextDelta(SECOND)])
    responses = service(shelf, model)
    events = await read(responses.stream(ann, again(asking())))
    response_id = id_of(events[0]["response"])
    shown = await responses.get(ann, response_id, include_sealed=True)
    broken, _, kept, _ = shown["output"]
    assert "encrypted_content" not in broken
    assert kept["encrypted_content"]


async def test_a_process_that_stops_leaves_it_to_its_successor(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, gate = await make_scope(), Gate()
    first = service(shelf, ScriptedModel(*PIECES, gate=gate))
    second = service(shelf, ScriptedModel(SECOND))
    begun, _ = await begin(first, gate, ann, again(in_background()))
    await first.runs.close()
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert texts(events) == [("incomplete", PIECES[0]), ("completed", SECOND)]


async def test_a_process_that_stops_before_the_next_attempt_says_anything_leaves_that_too(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """One that dies there is taken over; one that stops in order is not to lose more than that."""
    ann, gate = await make_scope(), Gate()

    class SilentModel(UnsteadyModel):
        async def generate(
            self, request: GenerationRequest
        ) -> AsyncGenerator[GenerationEvent, None]:
            if self.requests:
                await gate.pass_through()
            async for event in super().generate(request):
                yield event

    first = service(shelf, SilentModel([TextDelta(FIRST), BROKEN], [TextDelta(SECOND)]))
    second = service(shelf, ScriptedModel(SECOND))
    begun = id_of(await first.begin(ann, again(in_background())))
    await gate.wait_until_reached()
    await first._process.writer.settle(first.runs.running[begun].stream)
    await first.runs.close()
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert_in_order(events)
    assert texts(events) == [("incomplete", FIRST), ("completed", SECOND)]
