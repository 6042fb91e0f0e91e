"""Messages of the Model Context Protocol, as far as tools go, over JSON-RPC 2.0. Pure."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from undercroft import __version__
from undercroft.chat.tools.models import Outcome, RemoteTool

PROTOCOL: Final = "2025-06-18"
"""The revision that is asked for: the newest one that begins with a handshake, which servers of all revisions speak."""
_SPOKEN: Final = frozenset({"2024-11-05", "2025-03-26", PROTOCOL, "2025-11-25"})
_LONGEST_ERROR: Final = 2_000
_MOST_DEPTH: Final = 64

JsonObject: TypeAlias = dict[str, Any]
_Result = TypeVar("_Result", bound=BaseModel)


class UnreadableError(Exception):
    """It is no such message."""


class TooManyValuesError(Exception):
    """It holds more values than there is room for, or is nested deeper than is read."""


class RefusedError(Exception):
    """The server answered with an error; its words are the exception's."""


class _Message(BaseModel):
    """Servers may say more than is read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Error(_Message):
    code: int
    message: str = ""


class _Answer(_Message):
    id: int | str | None = None
    result: JsonObject | None = None
    error: _Error | None = None


class Initialized(_Message):
    """What a server says to the handshake."""

    protocol: Annotated[str, Field(alias="protocolVersion", max_length=64)]

    def is_spoken(self) -> bool:
        """Whether its revision is one that is understood here."""
        return self.protocol in _SPOKEN


class _Tool(_Message):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: Annotated[str, Field(max_length=16_384)] | None = None
    schema_: Annotated[JsonObject, Field(alias="inputSchema")]
    annotations: JsonObject | None = None


class ToolsPage(_Message):
    """Some of a server's tools, and where the others are."""

    tools: list[_Tool]
    next_cursor: Annotated[str | None, Field(alias="nextCursor", max_length=4096)] = None

    def as_tools(self) -> list[RemoteTool]:
        """The tools."""
        return [
            RemoteTool(tool.name, tool.description, tool.schema_, tool.annotations)
            for tool in self.tools
        ]


class _Part(_Message):
    type: str
    text: str = ""


class CallResult(_Message):
    """What a tool answered."""

    content: list[_Part] = Field(default_factory=list[_Part])
    structured: Annotated[JsonObject | None, Field(alias="structuredContent")] = None
    is_error: Annotated[bool, Field(alias="isError")] = False

    def as_outcome(self) -> Outcome:
        """As text. Of what is none its kind is named."""
        texts = [
            part.text if part.type == "text" else f"[{part.type[:40]} left out]"
            for part in self.content
        ]
        if not texts and self.structured is not None:
            texts = [json.dumps(self.structured, ensure_ascii=False)]
        text = "\n".join(texts)
        if self.is_error:
            return Outcome(error=text[:_LONGEST_ERROR] or "It gave no reason.", is_tools=True)
        return Outcome(text)


_ANSWERS: Final = TypeAdapter(_Answer)


def hello() -> JsonObject:
    """What the handshake says of this client: it offers servers nothing."""
    return {
        "protocolVersion": PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "undercroft", "version": __version__},
    }


def encode_request(number: int | None, method: str, params: Mapping[str, Any] | None) -> bytes:
    """A request; without a number a notification, which is not answered."""
    message: JsonObject = {"jsonrpc": "2.0", "method": method}
    if number is not None:
        message["id"] = number
    if params is not None:
        message["params"] = params
    return json.dumps(message).encode()


def read_answer(body: bytes, number: int) -> JsonObject | None:
    """The result in a message; None where it is not the answer to that request.

    Raises:
        UnreadableError: When it is no message.
        RefusedError: When the answer is an error.
    """
    try:
        answer = _ANSWERS.validate_json(body)
    except ValidationError as error:
        raise UnreadableError from error
    if answer.id != number:
        return None
    if answer.error is not None:
        raise RefusedError(answer.error.message[:_LONGEST_ERROR] or f"error {answer.error.code}")
    if answer.result is None:
        raise UnreadableError
    return answer.result


def read_result(result: JsonObject, form: type[_Result]) -> _Result:
    """A result in its form.

    Raises:
        UnreadableError: When it is not in that.
    """
    try:
        return form.model_validate(result)
    except ValidationError as error:
        raise UnreadableError from error


def count_values(value: object, room: int) -> int:
    """How many values there may be beside those that something holds, itself among them.

    Raises:
        TooManyValuesError: When there is no room for them, or some are nested too deep.
    """
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        room -= 1
        if isinstance(each, dict):
            inner = list(cast("dict[str, object]", each).values())
        elif isinstance(each, list):
            inner = cast("list[object]", each)
        else:
            inner = []
        # Before they are looked at: what is too much is not gone through.
        if room < len(inner) or depth > _MOST_DEPTH:
            raise TooManyValuesError
        waiting += [(one, depth + 1) for one in inner]
    return room
