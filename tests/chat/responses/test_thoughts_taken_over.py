"""Thoughts of a response whose process has died: shown by the next one as they were asked for, and counted."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from tests.chat.responses.test_settled_apart import limit_tokens, used
from tests.chat.responses.test_sources import id_of, service
from tests.chat.responses.test_streams import in_background, lapse, read
from tests.chat.scripted import SCRIPTED, CallingModel
from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import Gate
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    GenerationRequest,
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
    TextDelta,
)
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.metering.service import UsageRounds

THOUGHT = "Is it twelve or thirteen? " * 30
ANSWER: Sequence[GenerationEvent] = (
    ReasoningDelta(THOUGHT, is_summary=False),
    ReasoningEnded(Reasoning("calling", SCRIPTED, {"text": THOUGHT})),
    TextDelta("Thirteen."),
)


class HeldModel(CallingModel):
    """Thinks, and says no more before the gate is open.

    Args:
        gate: Where it stops.
        said: How many of its events come before that.
    """

    def __init__(self, gate: Gate, said: int) -> None:
        super().__init__(ANSWER)
        self._gate = gate
        self._said = said

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        number = 0
        async for event in super().generate(request):
            if number == self._said:
                await self._gate.pass_through()
            number += 1
            yield event


async def test_what_is_sealed_is_shown_by_whoever_takes_it_over(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann, gate = await make_scope(), Gate()
    first, second = service(shelf, HeldModel(gate, 0)), service(shelf, CallingModel(ANSWER))
    begun = id_of(await first.begin(ann, replace(in_background(), include_sealed=True)))
    await gate.wait_until_reached()
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["encrypted_content"]
    gate.open()
    await first.takeover.renew()
    await first.runs.close()


async def test_what_was_thought_is_counted_by_whoever_takes_it_over(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann, gate = await make_scope(), Gate()
    await limit_tokens(shelf, ann)
    first, second = service(shelf, HeldModel(gate, 1)), service(shelf, CallingModel(ANSWER))
    begun = id_of(await first.begin(ann, in_background()))
    await gate.wait_until_reached()
    await first._process.writer.settle(first.runs.running[begun].stream)
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert events[-1]["type"] == "response.failed"
    await asyncio.gather(*(each.task for each in second.runs.running.values() if each.task))
    await UsageRounds(shelf.database).add_up()
    _, tokens = await used(shelf, ann)
    assert tokens is not None
    assert tokens > len(THOUGHT) // 3
    gate.open()
    await first.takeover.renew()
    await first.runs.close()
