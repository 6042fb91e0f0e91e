"""What the AI SDK's chat transports send: a chat, its messages as the client has them, and what to do.

Of the messages only the last one is read, and only what is new in it: the conversation that is kept is the history.
"""

import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, TypeAlias, cast
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from undercroft.chat.conversations.chats.service import reference_of
from undercroft.chat.conversations.models import CONVERSATION_PREFIX
from undercroft.chat.responses.models import ResponseRequest
from undercroft.http.openai.asking import own_names as names_of_responses
from undercroft.http.openai.inputs import CallId, LongText
from undercroft.http.openai.response_requests import AnswerOptions, CreateResponse
from undercroft.http.ui.chunks import OWN_NAMES
from undercroft.http.wire import JsonObject, RequestBody
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import render_id

MOST_PARTS: Final = 100
_NAMES: Final = {"id", "messages", "trigger", "message_id"}
_TOOL: Final = "tool-"
_DYNAMIC_TOOL: Final = "dynamic-tool"
_RESULTS: Final = {"output-available": "output", "output-error": "errorText"}

ChatId: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~:-]{1,128}$")]
MessageId: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]


class TextPart(RequestBody):
    """Text of a user's message."""

    type: Literal["text"]
    text: LongText
    state: str | None = None
    provider_metadata: JsonObject | None = Field(default=None, alias="providerMetadata")


class UserMessage(RequestBody):
    """What a user says. Files are refused: this version takes text."""

    id: MessageId
    role: Literal["user"]
    parts: Annotated[list[TextPart], Field(min_length=1, max_length=MOST_PARTS)]
    metadata: JsonObject | None = None


class ToolResult(RequestBody):
    """What came of a call that the client made."""

    call_id: CallId
    output: LongText


class SendChat(AnswerOptions):
    """A request of the AI SDK's. What else its `body` says is as for a response, or refused by name."""

    id: ChatId
    messages: Annotated[list[JsonObject], Field(min_length=1, max_length=1000)]
    trigger: Literal["submit-message", "regenerate-message"]
    message_id: MessageId | None = Field(default=None, alias="messageId")

    @property
    def answers_calls(self) -> bool:
        """Whether results of calls are what is new: they go on with the assistant's message."""
        is_sent = self.trigger == "submit-message"
        return is_sent and self.messages[-1].get("role") == "assistant"

    @property
    def sibling_of(self) -> list[str]:
        """Which message is said or answered anew, by the names under which it may be known; none for a new one."""
        if self.answers_calls or (self.trigger == "submit-message" and self.message_id is None):
            return []
        named = [] if self.message_id is None else [self.message_id]
        return [*named, self._user_message().id]

    @property
    def name(self) -> str | None:
        """What a new message is called: sent again it is the same one."""
        if self.answers_calls or self.sibling_of:
            return None
        return self._user_message().id

    def digest(self) -> bytes:
        """SHA-256 of what is asked, without what is known of it already."""
        asked = self.model_dump(mode="json", exclude=_NAMES)
        said = [self._user_message().model_dump(mode="json"), asked]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()

    def as_request(self, default_model: str, conversation_id: UUID) -> ResponseRequest:
        """The request for the service, as a response of the conversation.

        Raises:
            InvalidRequestError: When the last message says nothing new.
            NotFoundError: When an id cannot be a vector store's.
        """
        options = {
            name: getattr(self, name)
            for name in AnswerOptions.model_fields
            if name in self.model_fields_set
        }
        with own_names():
            wanted = CreateResponse(
                **options,
                input=self._input(),
                conversation=render_id(CONVERSATION_PREFIX, conversation_id),
            ).as_request(default_model, may_keep=True)
        if self.answers_calls:
            return wanted
        reference = reference_of(self._user_message().id)
        (item,) = wanted.input_items
        return replace(wanted, input_items=(replace(item, reference=reference),))

    def _input(self) -> list[Any]:
        if self.answers_calls:
            results = self._results()
            return [{"type": "function_call_output", **each.model_dump()} for each in results]
        parts = [{"type": "input_text", "text": part.text} for part in self._user_message().parts]
        return [{"type": "message", "role": "user", "content": parts}]

    def _user_message(self) -> UserMessage:
        with self._placed():
            return UserMessage.model_validate(self.messages[-1])

    def _results(self) -> list[ToolResult]:
        """The results of the last step's calls that the client made."""
        found = [
            _result_of(part)
            for part in _last_step(self.messages[-1].get("parts"))
            if part.get("state") in _RESULTS and not part.get("providerExecuted")
        ]
        if not 1 <= len(found) <= MOST_PARTS:
            raise InvalidRequestError(
                "The last message is the assistant's and has no result of a call in its last step. Send a user's "
                f"message, or 1 to {MOST_PARTS} results of calls.",
                param=f"messages.{len(self.messages) - 1}.parts",
            )
        with self._placed():
            return [ToolResult.model_validate(each) for each in found]

    @contextmanager
    def _placed(self) -> Generator[None]:
        """What is wrong with the last message is named by its place among the messages."""
        try:
            yield
        except ValidationError as error:
            place = ("body", "messages", len(self.messages) - 1)
            told = [{**each, "loc": (*place, *each["loc"])} for each in error.errors()]
            raise RequestValidationError(told) from None


@contextmanager
def own_names() -> Generator[None]:
    """A field that has another name here than in responses is refused by its own; what they name as well, by theirs."""
    try:
        with names_of_responses():
            yield
    except InvalidRequestError as error:
        if error.param not in OWN_NAMES:
            raise
        raise InvalidRequestError(
            error.message, param=OWN_NAMES[error.param], code=error.code
        ) from error


def _last_step(parts: object) -> list[Mapping[str, Any]]:
    step: list[Mapping[str, Any]] = []
    if not isinstance(parts, list):
        return step
    for part in cast("list[object]", parts):
        if not isinstance(part, Mapping):
            continue
        part = cast("Mapping[str, Any]", part)
        kind = part.get("type")
        if kind == "step-start":
            step = []
        elif isinstance(kind, str) and (kind.startswith(_TOOL) or kind == _DYNAMIC_TOOL):
            step.append(part)
    return step


def _result_of(part: Mapping[str, Any]) -> JsonObject:
    output = part.get(_RESULTS[part["state"]])
    return {
        "call_id": part.get("toolCallId"),
        "output": output if isinstance(output, str) else json.dumps(output, ensure_ascii=False),
    }
