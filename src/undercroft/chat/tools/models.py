"""Remote tools, calls of them, and what a response tells of both."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Protocol, TypeAlias

from undercroft.sharing.models import Release

FUNCTION_PREFIX: Final = "mcp__"
"""How models are offered remote tools; beside those no function of the client's has a name that begins so."""
MOST_SERVERS: Final = 8
MOST_CALLS: Final = 32
"""Servers of a request, and calls that are made for one response."""
LONGEST_TOLD: Final = 16_384
"""Characters of what a tool answered that a model is told; the rest stands in the item."""

_LONGEST_NAME: Final = 64
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """A server of tools, as a request names it.

    Attributes:
        label: What the request calls it.
        url: Where it is. It may hold a secret, and is not told again.
        headers: What it is asked with, secrets among them.
        allowed: The only tools that are offered; None: all that it has.
        unasked: The tools that are called without asking anybody; None: all.
    """

    label: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    allowed: frozenset[str] | None = None
    unasked: frozenset[str] | None = frozenset()

    def offers(self, tool: str) -> bool:
        """Whether a tool of its is offered."""
        return self.allowed is None or tool in self.allowed

    def has_to_ask(self, tool: str) -> bool:
        """Whether somebody has to approve each call of a tool."""
        return self.unasked is not None and tool not in self.unasked


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """A tool, as its server describes it."""

    name: str
    description: str | None
    input_schema: Mapping[str, Any]
    annotations: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """A call of a remote tool.

    Attributes:
        server_label: Whose tool it is.
        tool: The tool.
        arguments: JSON, as the model wrote it: it may be malformed.
        approval_id: The request for approval that was approved, if one was made.
    """

    server_label: str
    tool: str
    arguments: str = field(repr=False)
    approval_id: str | None = None

    @property
    def function(self) -> str:
        """What models know the tool by."""
        return function_name(self.server_label, self.tool)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to: an output, or why there is none.

    Attributes:
        is_tools: Whether the error is the tool's own, and not one of reaching it.
    """

    output: str | None = field(default=None, repr=False)
    error: str | None = field(default=None, repr=False)
    is_tools: bool = False

    def told(self) -> str:
        """What a model is told of it."""
        return f"The call failed: {self.error}" if self.output is None else self.output


@dataclass(frozen=True, slots=True)
class ToolsWanted:
    """A server is asked for its tools."""

    server_label: str


@dataclass(frozen=True, slots=True)
class ToolsListed:
    """A server said which tools it has, or did not."""

    server_label: str
    tools: Sequence[RemoteTool]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """Somebody has to approve a call before it is made."""

    call: RemoteCall


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call is about to be made."""

    call: RemoteCall


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call that was begun last has come to something."""

    outcome: Outcome


ToolEvent: TypeAlias = ToolsWanted | ToolsListed | ApprovalAsked | CallBegun | CallEnded


class ToolCaller(Protocol):
    """Whoever asks servers on behalf of one response."""

    async def list_tools(self, server: RemoteServer) -> Sequence[RemoteTool]:
        """The tools of a server that are offered.

        Raises:
            UndercroftError: When it does not say.
        """
        ...

    async def call(
        self, server: RemoteServer, call: RemoteCall, rests_on: Sequence[Release]
    ) -> Outcome:
        """Make a call, if that may be at this instant.

        Args:
            server: Whose tool it is.
            call: The call.
            rests_on: What the prompt shows that the call was made from, and how its asker comes to that.
        """
        ...


def function_name(server_label: str, tool: str) -> str:
    """What models know a tool by: of the characters that model servers take, and no longer than they take."""
    said = f"{server_label}__{tool}"
    name = FUNCTION_PREFIX + _UNFIT.sub("_", said)
    # Only where the label ends is told by nothing else in it.
    is_plain = said.find("__") == said.rfind("__") == len(server_label)
    if is_plain and len(name) <= _LONGEST_NAME and name == f"{FUNCTION_PREFIX}{said}":
        return name
    # Two that would read the same are still two.
    digest = sha256(f"{server_label}\0{tool}".encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9]}_{digest}"
