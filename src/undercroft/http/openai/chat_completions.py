"""The Chat Completions API. With a ``file_search`` tool it cites, as the Responses API does."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.chat.calling import Answered
from undercroft.chat.choices import several
from undercroft.chat.consumption import Consumption, bounded, tokens_wanted, total
from undercroft.chat.providers.options import (
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    Ability,
    Effort,
    Options,
    Verbosity,
)
from undercroft.chat.questions import Question
from undercroft.http.callers import ResponseWriter
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.errors import openai_error
from undercroft.http.idempotency import REPLAYED_HEADER, asked_key
from undercroft.http.openai.chat_messages import (
    ChatFormat,
    ChatFunctionTool,
    ChatMessage,
    ChatNamedFunction,
    ChatTool,
    ChatToolChoice,
    as_output,
)
from undercroft.http.openai.chat_rendering import Completion
from undercroft.http.openai.contract import EVENT_STREAM, errors
from undercroft.http.openai.given_files import documents_in, with_texts
from undercroft.http.openai.inputs import (
    require_answered_calls,
    require_question,
    require_shown,
)
from undercroft.http.openai.keyed_completions import KeyedCompletion, begin_once
from undercroft.http.openai.response_inputs import InputItem, MessageItem, as_messages
from undercroft.http.openai.tools import FileSearchTool, RequestedTools
from undercroft.http.rate_limits import counting
from undercroft.http.services import Services
from undercroft.http.sse import EventStreamResponse, encode_event
from undercroft.http.wire import JsonObject, Metadata, OnlyFalse, RequestBody, render_time
from undercroft.kit.errors import InvalidRequestError, UndercroftError
from undercroft.kit.ids import render_id
from undercroft.metering.service import Charge

router = APIRouter(tags=["chat completions"], route_class=AuthenticatedRoute)

_OF_MESSAGES: Final = frozenset({Ability.IMAGES.value, Ability.FILES.value, "input"})

_Stop = Annotated[str, Field(min_length=1, max_length=256)]
_Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
_Penalty = Annotated[float, Field(ge=-2, le=2)]
_Bias = dict[
    Annotated[str, Field(pattern=r"^[0-9]{1,7}$")], Annotated[float, Field(ge=-100, le=100)]
]


class ChatStreamOptions(RequestBody):
    """Options of the stream."""

    include_usage: bool = False
    include_obfuscation: bool = False


class CreateChatCompletion(RequestBody):
    """A request for a chat completion. What this version, or the model, cannot do is refused by name."""

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    tools: Annotated[list[ChatTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ChatToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    stream: bool | None = False
    stream_options: ChatStreamOptions | None = None
    max_completion_tokens: _Tokens | None = None
    max_tokens: _Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    n: Annotated[int, Field(ge=1, le=8)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    response_format: Annotated[ChatFormat, Field(discriminator="type")] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    logit_bias: Annotated[_Bias, Field(max_length=300)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    metadata: Metadata | None = None
    store: OnlyFalse | None = None
    user: Annotated[str, Field(max_length=64)] | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    service_tier: Literal["auto", "default"] | None = None
    verbosity: Verbosity | None = None
    modalities: list[Literal["text"]] | None = None
    reasoning_effort: Effort | None = None

    def shown(self) -> list[MessageItem]:
        """What users say and show, in order."""
        items = (message.as_item() for message in self.messages)
        return [item for item in items if item is not None]

    def as_questions(self, default_model: str, shown: Sequence[InputItem]) -> list[Question]:
        """The request for the answerer: as many questions as choices are asked for.

        Args:
            default_model: Answers where the request names no model.
            shown: :meth:`shown`, with the files among it read.

        Raises:
            InvalidRequestError: When nobody asks anything, a search is required that no tool describes, a call and its
                result do not belong together, or two fields contradict each other.
            NotFoundError: When an id cannot be a vector store's.
        """
        users = iter(as_messages(shown))
        messages = tuple(
            next(users) if message.role == "user" else message.as_message()
            for message in self.messages
        )
        require_question(messages, "messages")
        require_answered_calls(messages, "messages")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        tools = self._tools()
        search = tools.as_search()
        require_shown(messages, "messages", searches=search is not None)
        question = Question(
            messages=messages,
            model=self.model or default_model,
            search=search,
            max_output_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            stop=stop,
            options=self._options(tools, searches=search is not None),
            files=documents_in(shown, "messages"),
        )
        return self._several(question)

    def _tools(self) -> RequestedTools:
        choice, offered = self.tool_choice, self.tools or ()
        is_named = isinstance(choice, ChatNamedFunction)
        return RequestedTools(
            [tool for tool in offered if isinstance(tool, FileSearchTool)],
            tuple(
                tool.function.as_tool() for tool in offered if isinstance(tool, ChatFunctionTool)
            ),
            "required" if is_named else choice,
            choice.function.name if is_named else None,
        )

    def _options(self, tools: RequestedTools, *, searches: bool) -> Options:
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequestError(
                "It goes with 'logprobs': set that to true, or leave it out.", param="top_logprobs"
            )
        return Options(
            tools=tools.functions,
            tool_choice=tools.as_choice(searches=searches),
            parallel_tool_calls=self.parallel_tool_calls if tools.functions else None,
            output=as_output(self.response_format),
            seed=self.seed,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=self.logit_bias,
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            verbosity=self.verbosity,
            effort=self.reasoning_effort,
        )

    def _several(self, question: Question) -> list[Question]:
        """One question for each choice. With a seed each has its own, else they would be the same."""
        number = self.n or 1
        if number > 1 and (question.search is not None or question.files):
            raise InvalidRequestError(
                "An answer from documents is given once. Leave this out, or the file_search and files by their ids.",
                param="n",
            )
        options = question.options
        seeds = [None if options.seed is None else options.seed + each for each in range(number)]
        return [replace(question, options=replace(options, seed=seed)) for seed in seeds]


@router.post(
    "/v1/chat/completions",
    summary="Create a chat completion",
    response_model=None,
    responses={200: EVENT_STREAM, **errors(404, 409, 410, 429, 502)},
)
async def create_chat_completion(
    body: CreateChatCompletion,
    caller: ResponseWriter,
    services: ServicesDependency,
    request: Request,
) -> Response | EventStreamResponse:
    """Answer the last message of a conversation."""
    places = [place for place, each in enumerate(body.messages) if each.role == "user"]
    shown = await with_texts(
        services.chat.file_texts, caller.tenant_id, body.shown(), "messages", places
    )
    questions = body.as_questions(services.chat.answers.default_model, shown)
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    key = await asked_key(request, caller)
    if key is not None:
        charge = counting(request, caller)
        with own_names():
            keyed = await begin_once(
                request, services, caller, charge, questions, key, include_usage=include_usage
            )
        return await _answer_once(request, keyed, is_stream=bool(body.stream))
    with own_names():
        await services.chat.answers.check(caller, questions[0])
    completion = Completion(
        render_id("chatcmpl-", services.ids.new()),
        render_time(services.clock.now()),
        questions[0].model,
        len(questions),
        include_usage=include_usage,
    )
    making = _make(services, counting(request, caller), questions, completion)
    if not body.stream:
        return JSONResponse(await unless_disconnected(request, _collect(making, completion)))
    # Its beginning is waited for here, so that a quota that is spent is an HTTP error and not a stream.
    try:
        begun = await unless_disconnected(request, _first(making))
    # Also when it is cancelled: nobody else would close it.
    except BaseException:
        await making.aclose()
        raise
    return EventStreamResponse(_stream(begun, making), _failure)


async def _answer_once(
    request: Request, keyed: KeyedCompletion, *, is_stream: bool
) -> Response | EventStreamResponse:
    """What is made once under a key. Who leaves it may come back for it."""
    try:
        if is_stream:
            begun = await anext(chunks := keyed.chunks())
            answer: Response = EventStreamResponse(_stream(begun, chunks), _failure)
        else:
            whole = _collect(keyed.chunks(), keyed.completion)
            answer = JSONResponse(await unless_disconnected(request, whole))
    except BaseException:
        await keyed.leave()
        raise
    if keyed.is_replayed:
        answer.headers[REPLAYED_HEADER] = "true"
    return answer


async def _make(
    services: Services, charge: Charge, questions: Sequence[Question], completion: Completion
) -> AsyncGenerator[JsonObject]:
    """The chunks as they come, after those with which it begins; it counts, however it ends."""
    wanted = sum(map(tokens_wanted, questions))
    with services.chat.responses.runs.room.place(charge.scope.tenant_id):
        async with services.metering.metered(charge, questions[0].model, wanted) as metered:
            asked = [bounded(question, charge) for question in questions]
            for chunk in completion.begin():
                yield chunk
            taken = [Consumption() for _ in asked]
            answers = several(
                services.sharing.watched_grants,
                charge.scope,
                [
                    services.chat.answers.answer(charge.scope, question, consumption=each)
                    for question, each in zip(asked, taken, strict=True)
                ],
            )
            try:
                async with aclosing(answers) as events:
                    async for index, event in events:
                        chunk = completion.take(index, event)
                        if isinstance(event, Answered) and completion.is_whole:
                            # Counted before its end is seen.
                            metered.spent = total(each.spent for each in taken)
                            await metered.settle()
                        if chunk is not None:
                            yield chunk
            finally:
                metered.spent = total(each.spent for each in taken)
    for chunk in completion.end():
        yield chunk


async def _first(making: AsyncGenerator[JsonObject]) -> JsonObject:
    return await anext(making)


async def _collect(making: AsyncGenerator[JsonObject], completion: Completion) -> JsonObject:
    with own_names():
        async with aclosing(making) as chunks:
            async for _ in chunks:
                pass
    return completion.whole()


async def _stream(begun: JsonObject, making: AsyncGenerator[JsonObject]) -> AsyncGenerator[bytes]:
    with own_names():
        async with aclosing(making) as chunks:
            yield encode_event(begun)
            async for chunk in chunks:
                yield encode_event(chunk)


def _failure(error: UndercroftError) -> bytes:
    return encode_event({"error": openai_error(error)})


@contextmanager
def own_names() -> Generator[None]:
    """What a message says or shows is refused as the field that holds it here; responses have it in ``input``."""
    try:
        yield
    except UndercroftError as error:
        if error.param not in _OF_MESSAGES:
            raise
        error.param = "messages"
        raise
