"""Rounds of an answer end: what they take is bounded, and so is what is offered in them."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from undercroft.chat.calling import Answered, Calling, RoundEvent, Rounds
from undercroft.chat.providers.options import NO_OPTIONS, Options
from undercroft.chat.providers.protocol import FinishReason, Message, ToolCallDelta, Usage
from undercroft.chat.tools.models import Outcome, RemoteCall, RemoteServer, RemoteTool
from undercroft.kit.errors import InvalidRequestError
from undercroft.sharing.models import Release


class Tools:
    """Has this many tools at each server, and answers every call."""

    def __init__(self, count: int) -> None:
        self._tools = [RemoteTool(f"t{number}", None, {}) for number in range(count)]
        self.listed: list[str] = []
        self.calls = 0

    async def list_tools(self, server: RemoteServer) -> Sequence[RemoteTool]:
        self.listed.append(server.label)
        return self._tools

    async def call(
        self, server: RemoteServer, call: RemoteCall, rests_on: Sequence[Release]
    ) -> Outcome:
        del server, call, rests_on
        self.calls += 1
        return Outcome("done")


async def say(
    called: Sequence[Message], options: Options, most_tokens: int | None
) -> AsyncGenerator[RoundEvent]:
    """Calls again, whatever came of it."""
    del called, options, most_tokens
    yield ToolCallDelta(0, "{}", "call_0", "mcp__a__t0")
    yield Answered(FinishReason.TOOL_CALLS, Usage(100, 10))


def rounds(tools: Tools, *labels: str, reserved: int | None = None) -> Rounds:
    servers = [RemoteServer(label, "https://tools.example.org/", unasked=None) for label in labels]
    return Rounds(Calling(servers, (), NO_OPTIONS, None, None, reserved, ()), tools, say)


@pytest.mark.parametrize(("reserved", "calls"), [(None, 32), (10, 1), (11, 2), (340, 4)])
async def test_rounds_end_once_they_took_what_was_reserved(
    reserved: int | None, calls: int
) -> None:
    tools = Tools(1)
    *_, last = [event async for event in rounds(tools, "a", reserved=reserved).run()]
    assert isinstance(last, Answered)
    assert tools.calls == calls
    if reserved is not None:
        assert last.reason is FinishReason.LENGTH
        assert last.usage == Usage(100 * calls, 10 * calls)


async def test_no_more_servers_are_asked_once_there_are_too_many_tools() -> None:
    tools = Tools(100)
    with pytest.raises(InvalidRequestError, match="200 tools"):
        [event async for event in rounds(tools, "a", "b", "c").run()]
    assert tools.listed == ["a", "b"]
