"""The Chat Completions API. With a ``file_search`` tool it cites, as the Responses API does."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.chat.answering import Answered, AnswerEvent, Question, Searched
from undercroft.chat.citations import Citation
from undercroft.chat.providers.protocol import Passage, TextDelta, Usage
from undercroft.chat.responses.events import render_citation
from undercroft.http.callers import ResponseWriter
from undercroft.http.deps import AuthenticatedRoute, Services, ServicesDependency
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.errors import openai_error
from undercroft.http.openai.contract import EVENT_STREAM, errors
from undercroft.http.openai.inputs import (
    FileSearchTool,
    ToolChoice,
    Turn,
    requested_search,
    require_question,
)
from undercroft.http.sse import EventStreamResponse, encode_event
from undercroft.http.wire import JsonObject, Metadata, OnlyFalse, RequestBody, render_time
from undercroft.identity.models import Principal
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import render_id

router = APIRouter(tags=["chat completions"], route_class=AuthenticatedRoute)

_Stop = Annotated[str, Field(min_length=1, max_length=256)]
_Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
_Zero = Annotated[float, Field(ge=0, le=0)]
_CHUNK: Final = "chat.completion.chunk"


class ChatMessage(Turn):
    """One message of the conversation; an answer's may be passed back as it was given."""

    name: Annotated[str, Field(max_length=64)] | None = None
    annotations: list[JsonObject] | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    parsed: None = None


class ChatStreamOptions(RequestBody):
    """Options of the stream."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatFormat(RequestBody):
    """Plain text is the one format."""

    type: Literal["text"]


class CreateChatCompletion(RequestBody):
    """A request for a chat completion. What this version cannot do is refused by name."""

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    tools: Annotated[list[FileSearchTool], Field(max_length=1)] | None = None
    tool_choice: ToolChoice = "auto"
    stream: bool | None = False
    stream_options: ChatStreamOptions | None = None
    max_completion_tokens: _Tokens | None = None
    max_tokens: _Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    n: Literal[1] | None = None
    response_format: ChatFormat | None = None
    metadata: Metadata | None = None
    store: OnlyFalse | None = None
    user: Annotated[str, Field(max_length=64)] | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    modalities: list[Literal["text"]] | None = None
    frequency_penalty: _Zero | None = None
    presence_penalty: _Zero | None = None
    logprobs: OnlyFalse | None = None
    top_logprobs: None = None
    logit_bias: None = None
    seed: None = None
    reasoning_effort: None = None

    def as_question(self, default_model: str) -> Question:
        """The request for the answerer.

        Raises:
            InvalidRequestError: When nobody asks anything, or a search is required that no tool describes.
            NotFoundError: When an id cannot be a vector store's.
        """
        messages = tuple(message.as_message() for message in self.messages)
        require_question(messages, "messages")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Question(
            messages=messages,
            model=self.model or default_model,
            search=requested_search(self.tools or (), self.tool_choice),
            max_output_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            stop=stop,
        )


class _Completion:
    """The chunks of one completion, and the completion that they add up to."""

    def __init__(self, completion_id: str, created: int, model: str) -> None:
        self._head = {"id": completion_id, "created": created, "model": model}
        self._passages: dict[int, Passage] = {}
        self._text: list[str] = []
        self._annotations: list[JsonObject] = []
        self._finish_reason: str | None = None
        self.usage = Usage(0, 0)

    def chunk(self, delta: JsonObject, finish_reason: str | None = None) -> JsonObject:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return {**self._head, "object": _CHUNK, "choices": [choice]}

    def take(self, event: AnswerEvent) -> JsonObject | None:
        """Add an event; its chunk, if it shows."""
        match event:
            case Searched():
                self._passages = {passage.number: passage for passage in event.passages}
                return None
            case TextDelta(text):
                self._text.append(text)
                return self.chunk({"content": text})
            case Citation():
                annotation = render_citation(event, self._passages[event.number])
                self._annotations.append(annotation)
                return self.chunk({"annotations": [annotation]})
            case Answered(reason, usage):
                self._finish_reason, self.usage = reason.value, usage
                return self.chunk({}, reason.value)

    def usage_chunk(self) -> JsonObject:
        return {**self._head, "object": _CHUNK, "choices": [], "usage": _usage(self.usage)}

    def whole(self) -> JsonObject:
        message = {
            "role": "assistant",
            "content": "".join(self._text),
            "refusal": None,
            "annotations": self._annotations,
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish_reason,
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(self.usage),
        }


@router.post(
    "/v1/chat/completions",
    summary="Create a chat completion",
    response_model=None,
    responses={200: EVENT_STREAM, **errors(404, 429, 502)},
)
async def create_chat_completion(
    body: CreateChatCompletion,
    caller: ResponseWriter,
    services: ServicesDependency,
    request: Request,
) -> Response | EventStreamResponse:
    """Answer the last message of a conversation."""
    question = body.as_question(services.answers.default_model)
    await services.answers.check(caller, question)
    completion = _Completion(
        render_id("chatcmpl-", services.ids.new()),
        render_time(services.clock.now()),
        question.model,
    )
    if not body.stream:
        made = _collect(services, caller, question, completion)
        return JSONResponse(await unless_disconnected(request, made))
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    chunks = _stream(services, caller, question, completion, include_usage=include_usage)
    return EventStreamResponse(chunks, _failure)


async def _collect(
    services: Services, caller: Principal, question: Question, completion: _Completion
) -> JsonObject:
    async with aclosing(services.answers.answer(caller, question)) as events:
        async for event in events:
            completion.take(event)
    return completion.whole()


async def _stream(
    services: Services,
    caller: Principal,
    question: Question,
    completion: _Completion,
    *,
    include_usage: bool,
) -> AsyncGenerator[bytes]:
    yield encode_event(completion.chunk({"role": "assistant", "content": ""}))
    async with aclosing(services.answers.answer(caller, question)) as events:
        async for event in events:
            chunk = completion.take(event)
            if chunk is not None:
                yield encode_event(chunk)
    if include_usage:
        yield encode_event(completion.usage_chunk())


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _failure(error: UndercroftError) -> bytes:
    return encode_event({"error": openai_error(error)})
