"""Earlier turns as models take them: whole turns, each call of a function with its result right after it. Pure.

What is kept may have come from several at once: the result of a call can stand far behind it, or nowhere. No model
reads such a conversation. So a call moves to its results; one that has none is left out, as is a result without its
call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from undercroft.chat.providers.protocol import Message, Role, ToolCall

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
    calls: list[tuple[int, ToolCall]] = field(default_factory=list[tuple[int, ToolCall]])


def as_turns(items: Sequence[Item]) -> list[Turn]:
    """Items as turns, oldest first."""
    results = {call: place for place, call in _answered(items).items() if call is not None}
    placed: list[tuple[int, Turn]] = []
    for message in _gathered(items):
        placed += _turns_of(message, items, results)
    # By where their last item stands: a call goes to its results, whatever was said in between.
    return [turn for _, turn in sorted(placed, key=lambda each: each[0])]


def find_results_without_call(items: Sequence[Item], since: int = 0) -> list[str]:
    """The ids of calls that have a result, at that place or after it, and are not there."""
    return [
        items[place]["call_id"]
        for place, call in _answered(items).items()
        if call is None and place >= since
    ]


def _answered(items: Sequence[Item]) -> dict[int, int | None]:
    """Of each result which call it is of, by their places: the last one before it. Ids come again with some models."""
    calls: dict[str, int] = {}
    found: dict[int, int | None] = {}
    for place, item in enumerate(items):
        if item["type"] == "function_call":
            calls[item["call_id"]] = place
        elif item["type"] == "function_call_output":
            found[place] = calls.get(item["call_id"])
    return found


@dataclass(slots=True)
class _Said:
    """A message of somebody else than the assistant."""

    place: int
    message: Message


def _gathered(items: Sequence[Item]) -> list[_Open | _Said]:
    """Messages, an assistant's with the calls that stand right behind it."""
    gathered: list[_Open | _Said] = []
    latest: _Open | None = None
    for place, item in enumerate(items):
        match item["type"]:
            case "message" if item["role"] == "assistant":
                latest = _Open(_text_of(item), {place})
                gathered.append(latest)
            case "message" if item["role"] in _ROLES:
                latest = None
                if text := _text_of(item):
                    gathered.append(_Said(place, Message(_ROLES[item["role"]], text)))
            case "function_call":
                if latest is None:
                    latest = _Open()
                    gathered.append(latest)
                call = ToolCall(item["call_id"], item["name"], item["arguments"])
                latest.calls.append((place, call))
            case "function_call_output":
                latest = None
            case _:
                pass
    return gathered


def _turns_of(
    said: _Open | _Said, items: Sequence[Item], results: Mapping[int, int]
) -> list[tuple[int, Turn]]:
    if isinstance(said, _Said):
        return [(said.place, Turn((said.message,), frozenset({said.place})))]
    calls = [(place, call) for place, call in said.calls if place in results]
    if not calls:
        if not said.text:
            return []
        message = Message(Role.ASSISTANT, said.text)
        return [(max(said.items), Turn((message,), frozenset(said.items)))]
    answers = [results[place] for place, _ in calls]
    messages = (
        Message(Role.ASSISTANT, said.text, tuple(call for _, call in calls)),
        *(
            Message(Role.TOOL, _output_of(items[answer]), tool_call_id=call.id)
            for answer, (_, call) in zip(answers, calls, strict=True)
        ),
    )
    places = said.items | {place for place, _ in calls} | {*answers}
    return [(max(answers), Turn(messages, frozenset(places)))]


def _text_of(item: Item) -> str:
    content = item["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _output_of(item: Item) -> str:
    output = item["output"]
    return output if isinstance(output, str) else "".join(part.get("text", "") for part in output)
