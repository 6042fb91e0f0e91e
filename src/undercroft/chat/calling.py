"""An answer in rounds: the model asks for calls of remote tools, they are made, and it goes on with what came of them.

Calls of the client's own functions are passed through, and end the answer: the client makes those.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from undercroft.chat.citations import Citation
from undercroft.chat.prompt import neutralised
from undercroft.chat.providers.options import FunctionTool, Options, ToolChoice
from undercroft.chat.providers.protocol import (
    FinishReason,
    Message,
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
    Role,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.tools.models import (
    LONGEST_TOLD,
    MOST_CALLS,
    ApprovalAsked,
    CallBegun,
    CallEnded,
    Outcome,
    RemoteCall,
    RemoteServer,
    RemoteTool,
    ToolCaller,
    ToolEvent,
    ToolsListed,
    ToolsWanted,
)
from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError
from undercroft.sharing.models import Release

_MOST_FUNCTIONS: Final = 128
_CUT: Final = frozenset({FinishReason.LENGTH, FinishReason.CONTENT_FILTER})
"""Why an answer ends in the middle of it."""
_TOLD_OF_CALLS: Final = frozenset(
    {
        ErrorKind.INVALID_REQUEST,
        ErrorKind.FORBIDDEN,
        ErrorKind.RATE_LIMITED,
        ErrorKind.UPSTREAM_FAILED,
    }
)
"""What goes wrong with a call alone, and is told to the model. The rest is the answer's own end."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is complete."""

    reason: FinishReason
    usage: Usage


RoundEvent: TypeAlias = (
    TextDelta | Citation | ToolCallDelta | ReasoningDelta | ReasoningEnded | Answered
)

Say: TypeAlias = Callable[[Sequence[Message], Options, int | None], AsyncGenerator[RoundEvent]]
"""One round: what was called so far, what may be called, and how many tokens it may have."""


@dataclass(frozen=True, slots=True)
class Calling:
    """What an answer may call.

    Attributes:
        servers: Whose tools are offered.
        approved: Calls that somebody has approved: they are made first.
        options: What is asked, the client's functions among it.
        most_calls: How many calls are made at most; None: as many as may be.
        most_tokens: How many tokens all rounds may say together.
        reserved: How many they may take beside the first prompt, what is read among it; None: whatever they do.
        rests_on: What the prompt shows, and how the asker comes to that.
    """

    servers: Sequence[RemoteServer]
    approved: Sequence[RemoteCall]
    options: Options
    most_calls: int | None
    most_tokens: int | None
    reserved: int | None
    rests_on: Sequence[Release]


@dataclass(slots=True)
class _Round:
    """What was said in one round."""

    text: list[str] = field(default_factory=list[str])
    calls: dict[int, tuple[ToolCallDelta, list[str]]] = field(
        default_factory=dict[int, "tuple[ToolCallDelta, list[str]]"]
    )
    passed: dict[int, int] = field(default_factory=dict[int, int])
    reasoning: list[Reasoning] = field(default_factory=list[Reasoning])
    reason: FinishReason = FinishReason.STOP


class Rounds:
    """Makes one answer.

    Args:
        calling: What it may call.
        tools: Lists and calls them.
        say: Has the model speak.
    """

    def __init__(self, calling: Calling, tools: ToolCaller, say: Say) -> None:
        self._calling = calling
        self._tools = tools
        self._say = say
        self._servers = {server.label: server for server in calling.servers}
        self._offered: dict[str, tuple[RemoteServer, RemoteTool]] = {}
        self._messages: list[Message] = []
        self._left = min(calling.most_calls or MOST_CALLS, MOST_CALLS)
        self._usage = Usage(0, 0)
        self._first_prompt = 0
        self._passed = 0
        self._called = 0

    async def run(self) -> AsyncGenerator[RoundEvent | ToolEvent]:
        """The answer's events.

        Raises:
            UndercroftError: When a server does not say which tools it has, or the model does not answer.
        """
        async with aclosing(self._prepare()) as preparing:
            async for event in preparing:
                yield event
        options, may_call = self._first_options(), True
        while True:
            said = _Round()
            async with aclosing(self._speak(said, options)) as speaking:
                async for event in speaking:
                    yield event
            calls = self._calls_of(said) if may_call else []
            thoughts = tuple(said.reasoning)
            async with aclosing(self._make(calls, "".join(said.text), thoughts)) as making:
                async for event in making:
                    yield event
            if not calls or said.passed or any(map(self._has_to_ask, calls)):
                break
            self._first_prompt = self._first_prompt or self._usage.input_tokens
            if self._tokens_left() == 0 or self._is_spent():
                said.reason = FinishReason.LENGTH
                break
            # One more round to say what came of it; a model that calls even so is not asked again.
            may_call = self._left > 0
            options = replace(options, tool_choice=ToolChoice("auto" if may_call else "none"))
        yield Answered(said.reason, self._usage)

    async def _prepare(self) -> AsyncGenerator[ToolEvent]:
        """Before the model is asked: what it may call, and what was approved of what it asked for earlier."""
        for server in self._calling.servers:
            async with aclosing(self._list(server)) as listing:
                async for event in listing:
                    yield event
            # Before the next one is asked: what all of them have would have to be held.
            self._require_room()
        async with aclosing(self._make(self._calling.approved, "")) as making:
            async for event in making:
                yield event

    async def _list(self, server: RemoteServer) -> AsyncGenerator[ToolEvent]:
        yield ToolsWanted(server.label)
        try:
            tools = await self._tools.list_tools(server)
        except UndercroftError as error:
            yield ToolsListed(server.label, (), error.message)
            raise
        for tool in tools:
            call = RemoteCall(server.label, tool.name, "")
            self._offered[call.function] = (server, tool)
        yield ToolsListed(server.label, tools)

    def _require_room(self) -> None:
        """Refuse more tools than a model is offered.

        Raises:
            InvalidRequestError: When there are too many.
        """
        count = len(self._calling.options.tools) + len(self._offered)
        if count > _MOST_FUNCTIONS:
            raise InvalidRequestError(
                f"There are {count} tools or more, and a model is offered {_MOST_FUNCTIONS} at most. Name those that "
                "it needs in 'allowed_tools'.",
                param="tools",
            )

    def _first_options(self) -> Options:
        """With the remote tools among the functions."""
        options = self._calling.options
        functions = (
            *options.tools,
            *(
                FunctionTool(name, tool.description, tool.input_schema)
                for name, (_, tool) in self._offered.items()
            ),
        )
        if not functions:
            return replace(options, tool_choice=ToolChoice())
        return replace(options, tools=functions)

    async def _speak(self, said: _Round, options: Options) -> AsyncGenerator[RoundEvent]:
        async with aclosing(self._say(self._messages, options, self._tokens_left())) as events:
            async for event in events:
                match event:
                    case Answered():
                        said.reason = event.reason
                        self._usage = _sum(self._usage, event.usage)
                    case ToolCallDelta():
                        passed = self._hear(said, event)
                        if passed is not None:
                            yield passed
                    case TextDelta():
                        said.text.append(event.text)
                        yield event
                    case ReasoningEnded(reasoning):
                        said.reasoning.append(reasoning)
                        yield event
                    case Citation() | ReasoningDelta():
                        yield event

    def _hear(self, said: _Round, delta: ToolCallDelta) -> ToolCallDelta | None:
        """A piece of a call: kept, where it is of a remote tool; else as the client is told it."""
        if delta.index in said.calls:
            said.calls[delta.index][1].append(delta.arguments)
            return None
        if delta.index not in said.passed:
            if delta.name in self._offered:
                said.calls[delta.index] = (delta, [delta.arguments])
                return None
            said.passed[delta.index] = self._passed
            self._passed += 1
        return replace(delta, index=said.passed[delta.index])

    def _calls_of(self, said: _Round) -> list[RemoteCall]:
        """The calls of remote tools that a round ended with; none of one that was cut off: they may be half of some."""
        if said.reason in _CUT:
            return []
        calls: list[RemoteCall] = []
        for first, arguments in said.calls.values():
            server, tool = self._offered[first.name or ""]
            calls.append(RemoteCall(server.label, tool.name, "".join(arguments)))
        return calls

    def _next_id(self) -> str:
        """Of a call in the prompt. Models use their own ids again."""
        self._called += 1
        return f"remote_{self._called}"

    def _has_to_ask(self, call: RemoteCall) -> bool:
        server = self._servers.get(call.server_label)
        return call.approval_id is None and server is not None and server.has_to_ask(call.tool)

    async def _make(
        self, calls: Sequence[RemoteCall], text: str, thoughts: tuple[Reasoning, ...] = ()
    ) -> AsyncGenerator[ToolEvent]:
        """Make calls, one after the other, and keep what came of them; ask for those that need somebody's approval."""
        made = {self._next_id(): call for call in calls if not self._has_to_ask(call)}
        if made:
            asked = tuple(
                ToolCall(id_, call.function, call.arguments or "{}") for id_, call in made.items()
            )
            self._messages.append(Message(Role.ASSISTANT, text, asked, reasoning=thoughts))
        for id_, call in made.items():
            yield CallBegun(call)
            outcome = await self._outcome(call)
            yield CallEnded(outcome)
            # Whatever a tool says is data, as passages are.
            told = neutralised(outcome.told()[:LONGEST_TOLD])
            self._messages.append(Message(Role.TOOL, told, tool_call_id=id_))
        for call in filter(self._has_to_ask, calls):
            yield ApprovalAsked(call)

    async def _outcome(self, call: RemoteCall) -> Outcome:
        server = self._servers.get(call.server_label)
        if server is None or not server.offers(call.tool):
            return Outcome(error=f"'{call.server_label}' offers no such tool in this request.")
        if self._left == 0:
            return Outcome(error="As many calls were made for this response as may be.")
        self._left -= 1
        try:
            return await self._tools.call(server, call, self._calling.rests_on)
        except UndercroftError as error:
            if error.kind not in _TOLD_OF_CALLS:
                raise
            return Outcome(error=error.message)

    def _is_spent(self) -> bool:
        """Whether the rounds took what was reserved; earlier turns are in each prompt, and not in that."""
        if self._calling.reserved is None:
            return False
        taken = self._usage.input_tokens + self._usage.output_tokens - self._first_prompt
        return taken >= self._calling.reserved

    def _tokens_left(self) -> int | None:
        if self._calling.most_tokens is None:
            return None
        return max(0, self._calling.most_tokens - self._usage.output_tokens)


def _sum(first: Usage, second: Usage) -> Usage:
    return Usage(
        first.input_tokens + second.input_tokens,
        first.output_tokens + second.output_tokens,
        cached_tokens=first.cached_tokens + second.cached_tokens,
        reasoning_tokens=first.reasoning_tokens + second.reasoning_tokens,
        estimated=first.estimated or second.estimated,
    )
