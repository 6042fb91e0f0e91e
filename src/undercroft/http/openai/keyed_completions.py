"""Chat completions that bring an idempotency key: each choice is a response, kept for a day for whoever asks again.

So a retry attaches to what is being made, or gets it as it was, whichever process made it; and what was revoked or
erased since is not shown.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Final

from fastapi import Request

from undercroft.chat.answering import AnswerEvent
from undercroft.chat.calling import Answered
from undercroft.chat.choices import several
from undercroft.chat.providers.protocol import FinishReason, ReasoningDelta, ToolCallDelta
from undercroft.chat.questions import Question
from undercroft.chat.responses.events import INCOMPLETE_REASONS
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.rendering import read_usage
from undercroft.http.begun import once_begun
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.openai.asking import require_response_id
from undercroft.http.openai.chat_rendering import Completion
from undercroft.http.openai.response_requests import CreateResponse
from undercroft.http.services import Services
from undercroft.http.wire import JsonObject
from undercroft.idempotency.errors import KeyNotTakenError, StillGoingOnError
from undercroft.idempotency.models import RequestKey
from undercroft.idempotency.service import MadeBeforeError, Once
from undercroft.identity.models import Kind, Principal
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import render_id
from undercroft.metering.service import Charge

_REASONS: Final = {told: reason for reason, told in INCOMPLETE_REASONS.items()}


class CompletionCancelledError(UndercroftError):
    """Nobody waited for the answer any more, and it was ended."""

    def __init__(self) -> None:
        super().__init__(
            "Whoever had asked this left, and the answer was ended before it was whole. Ask again with a new "
            "Idempotency-Key.",
            kind=ErrorKind.CONFLICT,
            code="completion_cancelled",
        )


class KeyedCompletion:
    """A completion that is made once under a key.

    Attributes:
        completion: What it adds up to.
        is_replayed: Whether it was asked for before.
    """

    def __init__(
        self,
        services: Services,
        caller: Principal,
        choices: Sequence[AsyncGenerator[JsonObject]],
        completion: Completion,
        *,
        is_replayed: bool,
    ) -> None:
        self._services = services
        self._caller = caller
        self._choices = choices
        self.completion = completion
        self.is_replayed = is_replayed

    async def chunks(self) -> AsyncGenerator[JsonObject]:
        """The chunks as they come, from the first one on. Closing it leaves what is made.

        Raises:
            UndercroftError: When an answer failed, or may not be read any more.
        """
        try:
            for chunk in self.completion.begin():
                yield chunk
            said = [_Said() for _ in self._choices]
            made = several(self._services.sharing.watched_grants, self._caller, self._choices)
            async with aclosing(made) as events:
                async for index, event in events:
                    chunk = self._take(index, said[index], event)
                    if chunk is not None:
                        yield chunk
            for chunk in self.completion.end():
                yield chunk
        finally:
            # Also where it was closed among the first chunks: nothing has taken the choices over by then.
            await self.leave()

    async def leave(self) -> None:
        """Nobody reads it."""
        for choice in self._choices:
            await choice.aclose()

    def _take(self, index: int, said: "_Said", event: JsonObject) -> JsonObject | None:
        match event["type"]:
            case "response.output_text.delta":
                return self.completion.say(index, event["delta"], event["logprobs"])
            case "response.output_text.annotation.added":
                return self.completion.annotate(index, event["annotation"])
            case "error":
                raise _failure_of(event["error"])
            case _:
                step = said.read(event)
                return None if step is None else self.completion.take(index, step)


class _Said:
    """What the events of one choice say beside its text, as its answerer said it."""

    def __init__(self) -> None:
        # Completions number calls, responses all items of an output.
        self._calls: dict[int, int] = {}

    def read(self, event: JsonObject) -> AnswerEvent | None:
        match event["type"]:
            case "response.reasoning.delta" | "response.reasoning_summary_text.delta":
                return ReasoningDelta(event["delta"])
            case "response.output_item.added" if event["item"]["type"] == "function_call":
                item, number = event["item"], len(self._calls)
                self._calls[event["output_index"]] = number
                return ToolCallDelta(number, "", item["call_id"], item["name"])
            case "response.function_call_arguments.delta":
                return ToolCallDelta(self._calls[event["output_index"]], event["delta"])
            case "response.completed" | "response.incomplete":
                return _answered(event["response"])
            case _:
                return None


async def begin_once(
    request: Request,
    services: Services,
    caller: Principal,
    charge: Charge,
    questions: Sequence[Question],
    key: RequestKey,
    *,
    include_usage: bool,
) -> KeyedCompletion:
    """Begin a completion, or attach to that which was begun under the key before.

    Each choice is under a key of its own, and ends by itself; all are begun in one transaction, as one request.

    Raises:
        KeyNotTakenError: When nothing is kept for this caller.
        UndercroftError: As for a response that is asked for, or watched.
    """
    if caller.kind is Kind.LINK:
        # All who hold a link are one principal: what is kept for one of them would be there for the others.
        raise KeyNotTakenError
    keys = [
        key if number == 0 else replace(key, route=f"{key.route} choice {number}")
        for number in range(len(questions))
    ]
    async with AsyncExitStack() as unless_begun:
        choices, is_replayed = await _begin(request, services, caller, charge, questions, keys)
        for events in choices:
            unless_begun.push_async_callback(events.aclose)
        heads = [(await anext(events))["response"] for events in choices]
        unless_begun.pop_all()
    completion = Completion(
        render_id("chatcmpl-", require_response_id(heads[0]["id"])),
        heads[0]["created_at"],
        heads[0]["model"],
        len(choices),
        include_usage=include_usage,
    )
    return KeyedCompletion(services, caller, choices, completion, is_replayed=is_replayed)


async def _begin(
    request: Request,
    services: Services,
    caller: Principal,
    charge: Charge,
    questions: Sequence[Question],
    keys: Sequence[RequestKey],
) -> tuple[list[AsyncGenerator[JsonObject]], bool]:
    """The events of the choices, and whether they were asked for before."""
    made = await _find_made(services, caller, keys)
    if made is None:
        wanted = [
            (_wanted(question), Once(services.idempotency, caller, key))
            for question, key in zip(questions, keys, strict=True)
        ]
        begun = services.chat.responses.stream_several(caller, wanted, charge)
        try:
            return await unless_disconnected(request, begun), False
        except MadeBeforeError:
            # By another request in this moment; all of them, for they are begun together.
            made = await _find_made(services, caller, keys)
    if made is None:
        raise StillGoingOnError
    choices: list[AsyncGenerator[JsonObject]] = []
    try:
        for made_id in made:
            watched = services.chat.responses.watch(caller, require_response_id(made_id), -1)
            choices.append(await once_begun(request, watched))
    except BaseException:
        for events in choices:
            await events.aclose()
        raise
    return choices, True


async def _find_made(
    services: Services, caller: Principal, keys: Sequence[RequestKey]
) -> list[str] | None:
    """What was made under the keys; None when nothing was."""
    made = [await services.idempotency.find_made(caller, key) for key in keys]
    return None if None in made else [each for each in made if each is not None]


def _wanted(question: Question) -> ResponseRequest:
    """The response that is a choice: of what was asked it repeats what responses have."""
    plain = CreateResponse(
        model=question.model,
        input="A chat completion",
        max_output_tokens=question.max_output_tokens,
        temperature=question.temperature,
        top_p=question.top_p,
    ).as_request(question.model, may_keep=True)
    return replace(plain, question=question, input_items=(), is_short_lived=True)


def _answered(resource: JsonObject) -> Answered:
    """How an answer ended, and what it took.

    Raises:
        CompletionCancelledError: When nobody waited for its end.
    """
    if resource["status"] == "cancelled":
        raise CompletionCancelledError
    reason = FinishReason.STOP
    if any(item["type"] == "function_call" for item in resource["output"]):
        reason = FinishReason.TOOL_CALLS
    if resource["incomplete_details"] is not None:
        reason = _REASONS[resource["incomplete_details"]["reason"]]
    return Answered(reason, read_usage(resource["usage"]))


def _failure_of(error: JsonObject) -> UndercroftError:
    # Those that were made again long after do not tell of what kind it was.
    kind = ErrorKind(error.get("type", ErrorKind.UPSTREAM_FAILED))
    return UndercroftError(error["message"], kind=kind, code=error["code"], param=error["param"])
