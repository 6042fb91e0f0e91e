"""Earlier turns as models take them: whole turns, each call of a function with its result right after it. Pure.

What is kept may have come from several at once: the result of a call can stand far behind it, or nowhere. No model
reads such a conversation. So a call moves to its results; one that has none is left out, as is a result without its
call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from undercroft.chat.given_files import as_told, said_in
from undercroft.chat.prompt import neutralised
from undercroft.chat.providers.protocol import Message, Role, ToolCall
from undercroft.chat.tools.models import LONGEST_TOLD, RemoteCall, function_name

Item: TypeAlias = Mapping[str, Any]

_ROLES: Final = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What stays together.

    Attributes:
        messages: One message; with calls in it, their results follow.
        items: Which items it is made of, by their places.
    """

    messages: tuple[Message, ...]
    items: frozenset[int]

    @property
    def role(self) -> Role:
        """Who speaks first."""
        return self.messages[0].role


@dataclass(slots=True)
class _Open:
    """A message that calls may still be added to."""

    text: str = ""
    items: set[int] = field(default_factory=set[int])
    sealed: tuple[str, ...] = ()
    calls: list[tuple[int, ToolCall]] = field(default_factory=list[tuple[int, ToolCall]])


def as_turns(items: Sequence[Item]) -> list[Turn]:
    """Items as turns, oldest first."""
    results = {call: place for place, call in _answered(items).items() if call is not None}
    gathering = _Gathering()
    said_anew = _said_anew(items)
    for place, item in enumerate(items):
        if place not in said_anew:
            gathering.add(place, item)
    placed: list[tuple[int, Turn]] = []
    for message in gathering.gathered:
        placed += _turns_of(message, items, results)
    # By where their last item stands: a call goes to its results, whatever was said in between.
    return [turn for _, turn in sorted(placed, key=lambda each: each[0])]


def find_results_without_call(items: Sequence[Item], since: int = 0) -> list[str]:
    """The ids of calls that have a result, at that place or after it, and are not there."""
    return [
        items[place].get("call_id") or items[place]["approval_request_id"]
        for place, call in _answered(items).items()
        if call is None and place >= since
    ]


def _said_anew(items: Sequence[Item]) -> set[int]:
    """Answers that broke off and were begun again: a model is told what came of that, and not both.

    What the client was to call is left out for want of a result.
    """
    places: set[int] = set()
    follows = False
    for place in range(len(items) - 1, -1, -1):
        item = items[place]
        if item["type"] == "message":
            is_answer = item["role"] == "assistant"
            if is_answer and follows and item.get("status") == "incomplete":
                places.add(place)
            follows = is_answer
        elif item["type"] == "function_call" and item.get("status") != "incomplete":
            follows = True
        elif item["type"] in {"function_call_output", "mcp_call"}:
            follows = False
    return places


def _answered(items: Sequence[Item]) -> dict[int, int | None]:
    """Of each result which call it is of, by their places: the last one before it. Ids come again with some models."""
    # Apart: what answers the one is no answer to the other, though clients choose ids that are alike.
    calls: dict[str, int] = {}
    requests: dict[str, int] = {}
    found: dict[int, int | None] = {}
    for place, item in enumerate(items):
        if item["type"] == "function_call":
            calls[item["call_id"]] = place
        elif item["type"] == "mcp_approval_request":
            requests[item["id"]] = place
        elif item["type"] == "function_call_output":
            found[place] = calls.get(item["call_id"])
        elif item["type"] == "mcp_approval_response":
            found[place] = requests.get(item["approval_request_id"])
    return found


@dataclass(slots=True)
class _Said:
    """A message of somebody else than the assistant."""

    place: int
    message: Message


@dataclass(slots=True)
class _Called:
    """A call of a remote tool, with what came of it."""

    place: int
    messages: tuple[Message, Message]


class _Gathering:
    """Messages, an assistant's with the calls that stand right behind it and the thoughts that stand before it."""

    def __init__(self) -> None:
        self.gathered: list[_Open | _Said | _Called] = []
        self._latest: _Open | None = None
        self._thoughts = _Open()

    def add(self, place: int, item: Item) -> None:
        """The next item."""
        match item["type"]:
            case "message":
                self._add_message(place, item)
            case "reasoning":
                self._think(place, item)
            case "compaction":
                self._latest, self._thoughts = None, _Open()
                message = Message(Role.USER, "", sealed=(item["encrypted_content"],))
                self.gathered.append(_Said(place, message))
            case "function_call":
                call = ToolCall(item["call_id"], item["name"], item["arguments"])
                latest = self._latest or self._begin()
                latest.calls.append((place, call))
            case "mcp_approval_request":
                call = ToolCall(item["id"], *_remote(item))
                self._begin().calls.append((place, call))
            case "mcp_call" if item["status"] in {"completed", "failed"}:
                self._latest = None
                self.gathered.append(_Called(place, remote_messages(item)))
            case "function_call_output" | "mcp_approval_response":
                self._latest = None
            case _:
                pass

    def _add_message(self, place: int, item: Item) -> None:
        if item["role"] == "assistant":
            said = self._begin()
            said.text = _text_of(item)
            said.items.add(place)
        elif item["role"] in _ROLES:
            self._latest, self._thoughts = None, _Open()
            message = _said_in(item)
            if message.content or message.images:
                self.gathered.append(_Said(place, message))

    def _think(self, place: int, item: Item) -> None:
        """It belongs to what is said next."""
        self._latest = None
        self._thoughts.items.add(place)
        if sealed := item.get("encrypted_content"):
            self._thoughts.sealed = (*self._thoughts.sealed, sealed)

    def _begin(self) -> _Open:
        self._latest, self._thoughts = self._thoughts, _Open()
        self.gathered.append(self._latest)
        return self._latest


def _turns_of(
    said: _Open | _Said | _Called, items: Sequence[Item], results: Mapping[int, int]
) -> list[tuple[int, Turn]]:
    if isinstance(said, _Said):
        return [(said.place, Turn((said.message,), frozenset({said.place})))]
    if isinstance(said, _Called):
        return [(said.place, Turn(said.messages, frozenset({said.place})))]
    calls = [(place, call) for place, call in said.calls if place in results]
    if not calls:
        if not said.text:
            return []
        message = Message(Role.ASSISTANT, said.text, sealed=said.sealed)
        return [(max(said.items), Turn((message,), frozenset(said.items)))]
    answers = [results[place] for place, _ in calls]
    messages = (
        Message(Role.ASSISTANT, said.text, tuple(call for _, call in calls), sealed=said.sealed),
        *(
            Message(Role.TOOL, _output_of(items[answer]), tool_call_id=call.id)
            for answer, (_, call) in zip(answers, calls, strict=True)
        ),
    )
    places = said.items | {place for place, _ in calls} | {*answers}
    return [(max(answers), Turn(messages, frozenset(places)))]


def _text_of(item: Item) -> str:
    content = item["content"]
    return content if isinstance(content, str) else said_in(content)


def _said_in(item: Item) -> Message:
    content = item["content"]
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return as_told(_ROLES[item["role"]], parts)


def _remote(item: Item) -> tuple[str, str]:
    """What a model knows a remote tool by, and what it is called with."""
    return function_name(item["server_label"], item["name"]), item["arguments"]


def remote_messages(item: Item) -> tuple[Message, Message]:
    """A call of a remote tool and what came of it, as models take them."""
    call = ToolCall(item["id"], *_remote(item))
    output: str | None = item.get("output")
    told = f"The call failed: {_reason(item)}" if output is None else output
    return (
        Message(Role.ASSISTANT, "", (call,)),
        Message(Role.TOOL, neutralised(told[:LONGEST_TOLD]), tool_call_id=call.id),
    )


def _reason(item: Item) -> str:
    """Why a call failed, as far as what is kept says so: requests could once give it any form."""
    error: object = item.get("error")
    if not isinstance(error, Mapping):
        return ""
    said = cast("Mapping[str, object]", error)
    message, parts = said.get("message"), said.get("content")
    if message or not isinstance(parts, list):
        return str(message or "")
    return "".join(
        str(cast("Mapping[str, object]", part).get("text", ""))
        for part in cast("list[object]", parts)
        if isinstance(part, Mapping)
    )


def approval_told(item: Item) -> str:
    """What a model is told of whether a call may be made."""
    if item["approve"]:
        return "Approved: what came of the call is told next."
    return f"Not approved, and not called. {neutralised(item.get('reason') or '')}".strip()


def approved_calls(items: Sequence[Item], since: int = 0) -> list[RemoteCall]:
    """The calls that were approved at that place or after it."""
    return [
        RemoteCall(
            items[call]["server_label"],
            items[call]["name"],
            items[call]["arguments"],
            items[call]["id"],
        )
        for place, call in _answered(items).items()
        if place >= since
        and call is not None
        and items[place]["type"] == "mcp_approval_response"
        and items[place]["approve"]
    ]


def is_replayed(item: Item) -> bool:
    """Whether an item that a client sends says what somebody else does: an answer, or what came of a call.

    That may repeat documents, and nobody here knows which.
    """
    if item["type"] == "message":
        return item["role"] == "assistant"
    return item["type"] != "mcp_approval_response"


def find_answered_twice(items: Sequence[Item], since: int = 0) -> list[str]:
    """The ids of requests for approval that are answered at that place or after it, and were before."""
    seen: set[str] = set()
    twice: list[str] = []
    for place, item in enumerate(items):
        if item["type"] == "mcp_approval_response":
            request_id = item["approval_request_id"]
            if request_id in seen and place >= since:
                twice.append(request_id)
            seen.add(request_id)
    return twice


def _output_of(item: Item) -> str:
    if item["type"] == "mcp_approval_response":
        return approval_told(item)
    output = item["output"]
    return output if isinstance(output, str) else "".join(part.get("text", "") for part in output)
