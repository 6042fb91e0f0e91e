"""The Responses API: answers with citations, streamed or whole."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.chat.answering import Question
from undercroft.chat.conversations.models import CONVERSATION_PREFIX
from undercroft.chat.providers.options import MAX_TOOLS, Ability, Options
from undercroft.chat.providers.protocol import needed
from undercroft.chat.responses.models import RESPONSE_PREFIX, ResponseRequest
from undercroft.http.callers import ResponseReader, ResponseWriter
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.errors import openai_error
from undercroft.http.openai.contract import EVENT_STREAM, errors
from undercroft.http.openai.conversations import (
    BusyChoice,
    ItemId,
    require_conversation_id,
    require_parent,
)
from undercroft.http.openai.inputs import (
    LongText,
    require_answered_calls,
    require_question,
)
from undercroft.http.openai.kept_items import new_item
from undercroft.http.openai.response_inputs import (
    INCLUDE_RESULTS,
    Include,
    InputItem,
    MessageItem,
    NamedFunction,
    ResponseFunctionTool,
    ResponseTool,
    ResponseToolChoice,
    TextOptions,
    as_messages,
    as_output,
    render_format,
)
from undercroft.http.openai.tools import FileSearchTool, RequestedTools
from undercroft.http.sse import EventStreamResponse, encode_event
from undercroft.http.wire import JsonObject, Metadata, RequestBody, require_id
from undercroft.identity.models import Kind
from undercroft.kit.errors import InvalidRequestError, UndercroftError
from undercroft.kit.ids import render_id

router = APIRouter(tags=["responses"], route_class=AuthenticatedRoute)

_FORMAT: Final = "text.format"
_LARGEST_EVENT_NUMBER: Final = 2**31 - 1


class StreamOptions(RequestBody):
    """Options of the stream."""

    include_obfuscation: bool = False


_ConversationId: TypeAlias = Annotated[str, Field(max_length=64)]


class ConversationReference(RequestBody):
    """A conversation by its id."""

    id: _ConversationId


class CreateResponse(RequestBody):
    """A request for a response. What this version cannot do is refused by name."""

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    input: LongText | Annotated[list[InputItem], Field(min_length=1, max_length=1000)]
    instructions: LongText | None = None
    tools: Annotated[list[ResponseTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ResponseToolChoice = "auto"
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    store: bool | None = True
    include: Include | None = None
    metadata: Metadata | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    text: TextOptions | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    user: Annotated[str, Field(max_length=64)] | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    background: bool | None = None
    previous_response_id: None = None
    conversation: _ConversationId | ConversationReference | None = None
    if_busy: BusyChoice | None = None
    parent: ItemId | None = None
    prompt: None = None
    reasoning: None = None
    top_logprobs: Annotated[int, Field(ge=0, le=0)] | None = None

    def as_request(self, default_model: str, *, may_keep: bool) -> ResponseRequest:
        """The request for the service.

        Args:
            default_model: Answers where the request names no model.
            may_keep: Whether the response is kept if it is asked for.

        Raises:
            InvalidRequestError: When nobody asks anything, no tool describes the search that is required, a call and
                its result do not belong together, or what is made in the background is not to be kept.
            NotFoundError: When an id cannot be a vector store's.
        """
        items = self._items()
        messages = as_messages(items)
        require_question(messages, "input")
        require_answered_calls(messages, "input")
        tools = self._tools()
        search = tools.as_search()
        question = Question(
            messages=messages,
            model=self.model or default_model,
            instructions=self.instructions,
            search=search,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            options=self._options(tools, searches=search is not None),
        )
        is_kept = may_keep and self.store is not False
        if self.background and not is_kept:
            raise InvalidRequestError(
                "What is made in the background is kept: leave 'store' out, or leave 'background' out.",
                param="background",
            )
        conversation_id = self._conversation_id(question, is_kept=is_kept)
        return ResponseRequest(
            question,
            self._echo(question.model, conversation_id, is_kept=is_kept),
            is_kept,
            INCLUDE_RESULTS in (self.include or ()),
            is_background=bool(self.background),
            conversation_id=conversation_id,
            input_items=() if conversation_id is None else tuple(map(new_item, items)),
            if_busy=self.if_busy,
            parent=require_parent(self.parent),
        )

    def _items(self) -> Sequence[InputItem]:
        """What is asked; a text alone is a message of the user's."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input

    def _tools(self) -> RequestedTools:
        choice, offered = self.tool_choice, self.tools or ()
        is_named = isinstance(choice, NamedFunction)
        return RequestedTools(
            [tool for tool in offered if isinstance(tool, FileSearchTool)],
            tuple(tool.as_tool() for tool in offered if isinstance(tool, ResponseFunctionTool)),
            "required" if is_named else choice,
            choice.name if is_named else None,
        )

    def _options(self, tools: RequestedTools, *, searches: bool) -> Options:
        return Options(
            tools=tools.functions,
            tool_choice=tools.as_choice(searches=searches),
            parallel_tool_calls=self.parallel_tool_calls if tools.functions else None,
            output=as_output(self.text.format if self.text else None),
        )

    def _conversation_id(self, question: Question, *, is_kept: bool) -> UUID | None:
        """The conversation in which it is kept.

        Raises:
            InvalidRequestError: When it cannot be kept in one.
            NotFoundError: When the id cannot be a conversation's.
        """
        given = self.conversation
        if given is None:
            for name in ("if_busy", "parent"):
                if getattr(self, name) is not None:
                    raise InvalidRequestError("It goes with 'conversation'.", param=name)
            return None
        text = given if isinstance(given, str) else given.id
        conversation_id = require_conversation_id(text, "conversation")
        if not is_kept:
            raise InvalidRequestError(
                "What is said in a conversation is kept: leave 'store' out, or leave 'conversation' out.",
                param="conversation",
            )
        if Ability.TOOLS in needed(question.messages, question.options):
            raise InvalidRequestError(
                "Functions are not kept in conversations yet: send all turns in 'input', or leave them out.",
                param="conversation",
            )
        return conversation_id

    def _echo(self, model: str, conversation_id: UUID | None, *, is_kept: bool) -> JsonObject:
        tools = [
            tool.model_dump(exclude_none=isinstance(tool, FileSearchTool))
            for tool in self.tools or []
        ]
        choice = self.tool_choice
        place = (
            {}
            if conversation_id is None
            else {"conversation": {"id": render_id(CONVERSATION_PREFIX, conversation_id)}}
        )
        return {
            **place,
            "model": model,
            "instructions": self.instructions,
            "tools": tools,
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
            "metadata": self.metadata or {},
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_logprobs": 0,
            "truncation": self.truncation or "disabled",
            "text": {"format": render_format(self.text.format if self.text else None)},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "reasoning": None,
            "store": is_kept,
            "background": bool(self.background),
            "service_tier": "default",
            "previous_response_id": None,
            "safety_identifier": self.safety_identifier,
            "prompt_cache_key": self.prompt_cache_key,
        }


@router.post(
    "/v1/responses",
    summary="Create a response",
    response_model=None,
    responses={200: EVENT_STREAM, **errors(404, 409, 410, 429, 502)},
)
async def create_response(
    body: CreateResponse, caller: ResponseWriter, services: ServicesDependency, request: Request
) -> Response | EventStreamResponse:
    """Answer a question, from the documents of the given vector stores if there are any, with verified citations."""
    # All who hold a link are one principal: what is kept for one of them would be there for the others.
    may_keep = caller.kind is not Kind.LINK
    wanted = body.as_request(services.answers.default_model, may_keep=may_keep)
    with _own_names():
        if wanted.is_background and not body.stream:
            return JSONResponse(await services.responses.begin(caller, wanted))
        if not body.stream:
            created = services.responses.create(caller, wanted)
            return JSONResponse(await unless_disconnected(request, created))
        return await _stream(request, services.responses.stream(caller, wanted))


@router.get(
    "/v1/responses/{response_id}",
    summary="Get a response",
    response_model=None,
    responses={200: EVENT_STREAM, **errors(403, 404, 409, 410)},
)
async def get_response(
    response_id: str,
    caller: ResponseReader,
    services: ServicesDependency,
    request: Request,
    stream: Annotated[bool, Query(description="Its events, live while it is being made.")] = False,
    starting_after: Annotated[
        int | None,
        Query(
            ge=0, le=_LARGEST_EVENT_NUMBER, description="With `stream`: only the events after this."
        ),
    ] = None,
) -> Response | EventStreamResponse:
    """A kept response, without its content once one of its sources can no longer be read; or its events."""
    kept_id = _require_id(response_id)
    if stream:
        after = -1 if starting_after is None else starting_after
        return await _stream(request, services.responses.watch(caller, kept_id, after))
    if starting_after is not None:
        raise InvalidRequestError("It goes with 'stream'.", param="starting_after")
    return JSONResponse(await services.responses.get(caller, kept_id))


@router.post(
    "/v1/responses/{response_id}/cancel",
    summary="Cancel a response",
    responses=errors(403, 404, 410, 503),
)
async def cancel_response(
    response_id: str, caller: ResponseWriter, services: ServicesDependency
) -> dict[str, Any]:
    """End a response that is being made; what was made of it is kept. One that has ended stays as it is."""
    return await services.responses.cancel(caller, _require_id(response_id))


@router.delete(
    "/v1/responses/{response_id}", summary="Delete a response", responses=errors(404, 410)
)
async def delete_response(
    response_id: str, caller: ResponseWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Delete a kept response."""
    await services.responses.delete(caller, _require_id(response_id))
    return {"id": response_id, "object": "response", "deleted": True}


@contextmanager
def _own_names() -> Generator[None]:
    """A field that has another name here than in chat completions is refused by its own."""
    try:
        yield
    except InvalidRequestError as error:
        if error.param != Ability.JSON:
            raise
        message = error.message.replace(Ability.JSON, _FORMAT)
        raise InvalidRequestError(message, param=_FORMAT, code=error.code) from error


async def _stream(request: Request, events: AsyncGenerator[JsonObject]) -> EventStreamResponse:
    # The first event is waited for here, so that an unknown model or response is an HTTP error and not a stream.
    try:
        first = await unless_disconnected(request, _first(events))
    # Also when it is cancelled: nobody else would close them.
    except BaseException:
        await events.aclose()
        raise
    return EventStreamResponse(_encoded(first, events), _failure)


async def _first(events: AsyncGenerator[JsonObject]) -> JsonObject | None:
    return await anext(events, None)


async def _encoded(
    first: JsonObject | None, events: AsyncGenerator[JsonObject]
) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        if first is not None:
            yield encode_event(first, first["type"])
        async for event in events:
            yield encode_event(event, event["type"])


def _failure(error: UndercroftError) -> bytes:
    return encode_event({"type": "error", "error": openai_error(error)}, "error")


def _require_id(text: str) -> UUID:
    return require_id(RESPONSE_PREFIX, "response", text)
