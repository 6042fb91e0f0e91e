"""What the requests of several OpenAI faces hold alike: their texts, messages and formats."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from undercroft.chat.providers.images import MOST_IMAGES
from undercroft.chat.providers.protocol import Message, Role
from undercroft.http.wire import JsonObject, RequestBody
from undercroft.kit.errors import InvalidRequestError

LongText: TypeAlias = Annotated[str, Field(max_length=1_000_000)]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Description: TypeAlias = Annotated[str, Field(max_length=16_384)]
CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]


class TextPart(RequestBody):
    """A piece of text of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: LongText
    annotations: list[JsonObject] = Field(default_factory=list)
    logprobs: list[JsonObject] | None = None
    parsed: None = None


Content: TypeAlias = LongText | Annotated[list[TextPart], Field(max_length=100)]
"""What a message says."""


class TextFormat(RequestBody):
    """Plain text."""

    type: Literal["text"]


class JsonFormat(RequestBody):
    """Any JSON object."""

    type: Literal["json_object"]


def as_role(word: str) -> Role:
    """Who speaks, as models take it."""
    return Role.SYSTEM if word == "developer" else Role(word)


def joined(content: Content | None) -> str:
    """The text of a message, however it was given."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)


def require_question(messages: Sequence[Message], param: str) -> None:
    """Refuse a conversation in which nobody asks anything.

    Args:
        messages: The conversation.
        param: The request field that holds it.

    Raises:
        InvalidRequestError: When no message of a user says or shows anything.
    """
    asks = (message for message in messages if message.role is Role.USER)
    if not any(message.content.strip() or message.images for message in asks):
        raise InvalidRequestError(
            "There is no user message to answer: none says or shows anything.",
            param=param,
        )


def require_shown(messages: Sequence[Message], param: str, *, searches: bool) -> None:
    """Refuse more pictures than are taken, and a search for nothing.

    Args:
        messages: The conversation.
        param: The request field that holds it.
        searches: Whether the last question is searched for.

    Raises:
        InvalidRequestError: When there are too many, or nothing is asked in words.
    """
    if sum(len(message.images) for message in messages) > MOST_IMAGES:
        raise InvalidRequestError(f"Give at most {MOST_IMAGES} pictures.", param=param)
    asked = [message.said for message in messages if message.role is Role.USER]
    if searches and asked and not asked[-1].strip():
        raise InvalidRequestError("There is nothing to search for: ask in words.", param=param)


def require_answered_calls(messages: Sequence[Message], param: str) -> None:
    """Refuse a conversation in which a call and its result do not belong together: models cannot read one.

    Args:
        messages: The conversation.
        param: The request field that holds it.

    Raises:
        InvalidRequestError: When a result is of no call just before it, or a call has no result.
    """
    waiting: set[str] = set()
    for message in messages:
        if message.role is Role.TOOL:
            if message.tool_call_id not in waiting:
                raise InvalidRequestError(
                    f"There is a result of the call '{message.tool_call_id}', but no such call before it.",
                    param=param,
                )
            waiting.discard(message.tool_call_id)
            continue
        if waiting:
            break
        waiting = {call.id for call in message.tool_calls}
    if waiting:
        raise InvalidRequestError(
            f"The call '{min(waiting)}' has no result. Give one message with the role 'tool' for each call, right "
            "after the message that asks for them.",
            param=param,
        )


def require_something_new(messages: Sequence[Message], param: str) -> None:
    """Refuse what adds nothing to earlier turns, and a call without a result. Results may be of earlier calls.

    Args:
        messages: What goes on with earlier turns.
        param: The request field that holds it.

    Raises:
        InvalidRequestError: When nobody asks anything and no result is given, or a call has none.
    """
    results = {message.tool_call_id for message in messages if message.role is Role.TOOL}
    if not results:
        require_question(messages, param)
    for message in messages:
        for call in message.tool_calls:
            if call.id not in results:
                raise InvalidRequestError(f"The call '{call.id}' has no result.", param=param)
