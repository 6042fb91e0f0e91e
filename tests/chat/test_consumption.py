"""Whoever breaks an answer off is charged for what its model was told and has said, in whatever field that was."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import pytest

from tests.chat.scripted import SCRIPTED, CallingModel
from tests.conftest import MakeScope
from tests.shelf import Shelf
from undercroft.chat.answering import Answerer, AnswerEvent
from undercroft.chat.consumption import Consumption, most_tokens, prompt_tokens, tokens_wanted
from undercroft.chat.providers.options import FunctionTool, JsonOutput, Options
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    Message,
    Role,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.providers.upstream_errors import broken_off, too_slow, unreachable
from undercroft.chat.questions import Question
from undercroft.chat.tools.models import Outcome, RemoteCall, RemoteServer, RemoteTool, ToolsWanted
from undercroft.kit.errors import UndercroftError
from undercroft.metering.models import Spent
from undercroft.sharing.models import Release
from undercroft.sharing.watching import WatchedGrants

LONG: Final = "The lamp of the lighthouse is lit at dusk. " * 100
ASKED: Final = Question((Message(Role.USER, "When?"),), SCRIPTED, max_output_tokens=1000)
SCHEMA: Final = {"type": "object", "description": LONG}


class Port:
    """A server of one tool."""

    async def list_tools(self, server: RemoteServer) -> Sequence[RemoteTool]:
        del server
        return (RemoteTool("send", LONG, {"type": "object"}),)

    async def call(
        self, server: RemoteServer, call: RemoteCall, rests_on: Sequence[Release]
    ) -> Outcome:
        del server, call, rests_on
        return Outcome(output=LONG)


def model_says(
    *events: GenerationEvent, failure: UndercroftError | None = None
) -> AsyncGenerator[GenerationEvent]:
    async def say() -> AsyncGenerator[GenerationEvent]:
        for event in events:
            yield event
        if failure is not None:
            raise failure

    return say()


async def broken_after(
    number: int, events: AsyncGenerator[GenerationEvent] | AsyncGenerator[AnswerEvent]
) -> None:
    """Leave after so many events."""
    async with aclosing(events) as said:
        for _ in range(number):
            await anext(said)


@pytest.mark.parametrize(
    "fields",
    [
        {"instructions": LONG},
        {"messages": (Message(Role.ASSISTANT, LONG), *ASKED.messages)},
        {
            "messages": (
                *ASKED.messages,
                Message(Role.ASSISTANT, "", (ToolCall("call_0", "look", LONG),)),
                Message(Role.TOOL, "", tool_call_id="call_0"),
            )
        },
        {"options": Options(tools=(FunctionTool("look", LONG),))},
        {"options": Options(tools=(FunctionTool("look", None, SCHEMA),))},
        {"options": Options(output=JsonOutput(SCHEMA))},
        {"options": Options(output=JsonOutput(None, description=LONG))},
    ],
    ids=[
        "instructions",
        "an earlier turn",
        "arguments of a call",
        "a tool's description",
        "a tool's schema",
        "the schema of the answer",
        "the description of the answer",
    ],
)
def test_the_prompt_is_reserved_in_whatever_field_it_stands(fields: dict[str, object]) -> None:
    question = replace(ASKED, **fields)  # pyright: ignore[reportArgumentType] - by name
    assert prompt_tokens(question) >= prompt_tokens(ASKED) + most_tokens(LONG)
    assert tokens_wanted(question) == prompt_tokens(question) + 1000


async def test_what_was_heard_counts_whoever_leaves() -> None:
    consumption = Consumption()
    assert consumption.spent == Spent()
    said = [TextDelta("Let me look."), ToolCallDelta(0, LONG, "call_0", "look")]
    await broken_after(2, consumption.counted(ASKED, "", model_says(*said)))
    output = most_tokens(f"Let me look.look{LONG}")
    assert output > 1000
    # No more than it may say, however long its words are.
    assert consumption.spent == Spent(prompt_tokens(ASKED), 1000, is_estimated=True)
    unbounded = Consumption()
    question = replace(ASKED, max_output_tokens=None)
    await broken_after(2, unbounded.counted(question, "", model_says(*said)))
    assert unbounded.spent == Spent(prompt_tokens(ASKED), output, is_estimated=True)


async def test_what_the_models_server_says_takes_the_place_of_what_was_counted() -> None:
    consumption = Consumption()
    end = Finished(FinishReason.STOP, Usage(5000, 3000, cached_tokens=7))
    # Its end was heard, and whoever asked left before they saw it.
    await broken_after(2, consumption.counted(ASKED, "", model_says(TextDelta("So"), end)))
    assert consumption.spent == Spent(5000, 3000, 7)
    await broken_after(1, consumption.counted(ASKED, "", model_says(TextDelta("So"))))
    assert consumption.spent == Spent(5000 + prompt_tokens(ASKED), 3001, 7, is_estimated=True)
    consumption.end(Usage(1, 2))
    assert consumption.spent == Spent(5001, 3002, 7)


@pytest.mark.parametrize(
    ("failure", "said", "is_charged"),
    [
        (unreachable("port"), (), False),
        (unreachable("port"), (TextDelta("So"),), True),
        (too_slow("port", "did not answer"), (), True),
        (broken_off("port", "went away"), (), True),
    ],
    ids=["nobody there", "nobody there any more", "too slow", "broke off"],
)
async def test_a_failure_is_free_only_where_no_model_took_the_prompt(
    failure: UndercroftError, said: Sequence[GenerationEvent], is_charged: bool
) -> None:
    consumption = Consumption()
    with pytest.raises(type(failure)):
        await broken_after(2, consumption.counted(ASKED, "", model_says(*said, failure=failure)))
    assert (consumption.spent.input_tokens == prompt_tokens(ASKED)) is is_charged
    assert (consumption.spent == Spent()) is not is_charged


async def test_rounds_that_ended_count_beside_the_one_that_broke_off(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    call = ToolCallDelta(0, "{}", "call_0", "mcp__port__send")
    model = CallingModel([TextDelta("I send it. "), call], [TextDelta("It is sent.")])
    registry = ModelRegistry([model], default_model=SCRIPTED)
    answers = Answerer(shelf.search, registry, WatchedGrants(shelf.database))
    remote = RemoteServer("port", "https://port.example", unasked=None)
    question = replace(ASKED, instructions=LONG, servers=(remote,))
    unasked, consumption = Consumption(), Consumption()
    async with aclosing(answers.answer(ann, question, tools=Port(), consumption=unasked)) as events:
        assert isinstance(await anext(events), ToolsWanted)
    assert unasked.spent == Spent()

    async with aclosing(
        answers.answer(ann, question, tools=Port(), consumption=consumption)
    ) as events:
        async for event in events:
            if event == TextDelta("It is sent."):
                break
    assert len(model.requests) == 2
    spent = consumption.spent
    # With the tool that was offered, and with what it said.
    assert spent.input_tokens >= 11 + prompt_tokens(question) + 2 * most_tokens(LONG)
    assert spent.output_tokens == 7 + most_tokens("It is sent.")
    assert spent.is_estimated
