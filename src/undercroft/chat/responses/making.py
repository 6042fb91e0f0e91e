"""Makes a response, step by step: what the answerer says, as events."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from itertools import chain
from typing import Final
from uuid import UUID

import structlog

from undercroft.chat.answering import Answerer, AnswerEvent
from undercroft.chat.calling import Answered
from undercroft.chat.citations import Citation
from undercroft.chat.conversations.turns import ConversationTurns
from undercroft.chat.found import FilesRead, Searched
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.providers.registry import FAULTS, UnableError
from undercroft.chat.questions import Question
from undercroft.chat.responses.carried import seal_carried
from undercroft.chat.responses.carried_content import (
    CarriedContent,
    carried_ids,
    compactions_in,
    is_carrying,
)
from undercroft.chat.responses.chain import MOST_RESPONSES, ResponseChain
from undercroft.chat.responses.events import TERMINAL_EVENTS
from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.own_thoughts import seal_own
from undercroft.chat.responses.provenance import AnswerRecorder
from undercroft.chat.responses.rendering import render_logprob
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.tool_calls import ResponseTools
from undercroft.chat.responses.work import Work
from undercroft.chat.shown import InterruptedAnswerError
from undercroft.chat.streams.errors import LeaseLostError
from undercroft.chat.streams.service import StreamLog
from undercroft.chat.tools.models import (
    ApprovalAsked,
    CallBegun,
    CallEnded,
    ToolsListed,
    ToolsWanted,
)
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.sharing.models import Release

_INTERRUPTIONS: Final = FAULTS | {
    "model_busy",
    "model_process_died",
    "model_provider_resting",
    "model_timed_out",
    "response_interrupted",
    "upstream_rate_limited",
}
"""What breaks an answer off that nobody wanted to end, and that may come to its end another time."""

_log = structlog.stdlib.get_logger(__name__)


class ResponseMaker:
    """Turns questions into events."""

    def __init__(
        self,
        database: Database,
        answers: Answerer,
        recorder: AnswerRecorder,
        turns: ConversationTurns,
        chain: ResponseChain,
        log: StreamLog,
        tools: ResponseTools,
        carried: CarriedContent,
        clock: Clock,
    ) -> None:
        self._database = database
        self._answers = answers
        self._recorder = recorder
        self._turns = turns
        self._chain = chain
        self._tools = tools
        self._carried = carried
        self._clock = clock
        self._log = log
        self._responses = ResponseRepository()

    async def make(self, work: Work) -> AsyncGenerator[list[WireObject]]:
        """The events, some at a time. A last event is the last of its step, and the last step.

        What goes wrong is told by events, too: ``response.failed`` ends them.

        Raises:
            LeaseLostError: When the response is another process's to make.
        """
        events = work.events
        searching = events.start_search() if work.request.question.search is not None else ()
        begun = list(chain(events.begin(), searching))
        if begun:
            yield begun
        if not events.can_go_on:
            # Calls or thoughts of another process's: taken over only where that may begin again.
            yield self._begin_again(work)
        is_ended = False
        while not is_ended:
            async with aclosing(self._attempt(work)) as steps:
                async for step in steps:
                    is_ended = step[-1]["type"] in TERMINAL_EVENTS
                    yield step

    async def _attempt(self, work: Work) -> AsyncGenerator[list[WireObject]]:
        """One answer, from where it is to its end, or to where another one begins."""
        try:
            async with aclosing(self._answer(work)) as steps:
                async for step in steps:
                    yield step
        except LeaseLostError:
            raise
        except UndercroftError as error:
            cannot_go_on = isinstance(error, UnableError) and error.ability is Ability.CONTINUE
            failure = InterruptedAnswerError() if cannot_go_on else error
            if failure.code in _INTERRUPTIONS and work.may_begin_again:
                yield self._begin_again(work)
            else:
                yield list(work.events.fail(failure))
        except Exception as error:  # noqa: BLE001 - a defect or a lost database: told in the stream, which has begun
            _log.error("response_failed", exc_info=error)
            yield list(work.events.abandon(error))

    def _begin_again(self, work: Work) -> list[WireObject]:
        """What was said breaks off, and is counted: whoever asked wants another answer rather than none."""
        work.consumption.break_off()
        _log.warning("response_begins_again", response_id=str(work.events.response_id))
        return list(work.events.begin_again())

    async def _answer(self, work: Work) -> AsyncGenerator[list[WireObject]]:
        question, earlier = await self._after_earlier_turns(work)
        work.rests_on.extend(earlier)
        # As it is now: from here on the events grow.
        shown = work.events.shown
        tools = self._tools.of(work, question)
        said = self._answers.answer(work.scope, question, earlier, shown, tools, work.consumption)
        async with aclosing(said) as answer:
            async for step in answer:
                if isinstance(step, (Searched, FilesRead)):
                    await self._record(work, step)
                    work.rests_on.extend(step.releases())
                made = self._events_of(work, step)
                if made:
                    yield made

    async def _after_earlier_turns(self, work: Work) -> tuple[Question, Sequence[Release]]:
        """The question as its model is asked: after the turns of its conversation, or of the responses before it."""
        request, question = work.request, work.request.question
        goes_on = (
            request.previous_id is not None
            or request.sum_up is not None
            or (request.conversation_id is not None and work.lease is not None)
        )
        if not goes_on and not is_carrying(question):
            return question, ()
        async with self._database.transaction(work.scope) as transaction:
            rested_on = await self._inherited(transaction, work)
            releases: Sequence[Release] = ()
            if goes_on:
                await self._hold_together(transaction, work)
                question, releases = await self._load(transaction, work)
            asked = await self._open_carried(transaction, work, question, releases)
            if await self._inherited(transaction, work) != rested_on:
                # What was shown may say what one of the turns said that are not to be read now.
                raise InterruptedAnswerError
            if work.lease is not None:
                # Last, and locked until this commits: what it rests on is recorded by whoever makes it.
                await self._log.hold(transaction, work.lease)
        return asked

    async def _hold_together(self, transaction: Transaction, work: Work) -> None:
        """Lock what a request's earlier turns and what it carries itself were made from, in one order.

        Each is locked by whoever reads it, one after the other: whoever erases several documents could hold one of the
        second and wait for one of the first.
        """
        request = work.request
        carried = carried_ids(request.question)
        if not carried:
            return
        if request.previous_id is not None:
            chain = await self._responses.list_chain_ids(
                transaction, request.previous_id, MOST_RESPONSES
            )
            await self._responses.hold_sources(transaction, [*chain, *carried])
            await self._responses.hold_responses(transaction, [*chain, *carried])
        elif request.conversation_id is not None:
            await self._responses.hold_sources_with_conversation(
                transaction, carried, request.conversation_id
            )

    async def _open_carried(
        self, transaction: Transaction, work: Work, question: Question, releases: Sequence[Release]
    ) -> tuple[Question, Sequence[Release]]:
        """The question with what its messages carry, and what both rest on."""
        if not is_carrying(question):
            return question, releases
        places: Sequence[tuple[UUID, int, int, int]] = ()
        kept_id = None if work.lease is None else work.events.response_id
        if kept_id is not None and releases:
            # Found anew just now: not what another process had found before.
            places = await self._responses.list_passage_places(transaction, kept_id, inherited=True)
        question, more = await self._carried.hand_over(
            transaction,
            work.scope,
            question,
            kept_id,
            places,
            compactions_in(work.request.question),
        )
        return question, [*releases, *more]

    async def _inherited(
        self, transaction: Transaction, work: Work
    ) -> set[tuple[UUID, int, int, int]]:
        """What was shown rests on through the turns before it."""
        if not work.events.has_output:
            return set()
        return set(
            await self._responses.list_passage_places(
                transaction, work.events.response_id, inherited=True
            )
        )

    async def _load(
        self, transaction: Transaction, work: Work
    ) -> tuple[Question, Sequence[Release]]:
        request, response_id = work.request, work.events.response_id
        if request.previous_id is not None:
            kept_id = None if work.lease is None else response_id
            return await self._chain.load(
                transaction,
                work.scope,
                request.previous_id,
                kept_id,
                request.question,
                request.input(),
            )
        asked = (response_id, request.question, request.input())
        if request.sum_up is not None:
            beginning = await self._turns.load_beginning(
                transaction, work.scope, request.sum_up, *asked
            )
            return beginning.question, beginning.rests_on
        if request.conversation_id is None:
            raise RuntimeError("nothing to go on with")
        loaded = await self._turns.load(transaction, work.scope, request.conversation_id, *asked)
        work.due[:] = [loaded.due] if loaded.due else []
        return loaded.question, loaded.rests_on

    def _events_of(self, work: Work, step: AnswerEvent) -> list[WireObject]:
        return list(self._tell(work, step))

    def _tell(self, work: Work, step: AnswerEvent) -> Iterator[WireObject]:
        events = work.events
        match step:
            case TextDelta(text, logprobs):
                yield from events.add_text(text, list(map(render_logprob, logprobs)))
            case FilesRead():
                pass
            case ReasoningDelta():
                yield from events.think(step)
            case ReasoningEnded(reasoning):
                yield from events.end_thought(_sealed(work, reasoning))
            case Searched():
                yield from events.finish_search(step)
            case Citation():
                yield from events.cite(step)
            case ToolCallDelta():
                yield from events.add_call(step)
            case Answered(reason, usage):
                took = _with_broken_off(work, usage) if events.broken_off else usage
                yield from events.complete(reason, took, self._clock.now())
            case ToolsWanted() | ToolsListed() | ApprovalAsked() | CallBegun() | CallEnded():
                yield from events.tell_tools(step)

    async def _require_same(self, work: Work, searched: Searched | FilesRead) -> None:
        """What was shown rests on passages: it goes on only from the same, which its asker may still read."""
        response_id = work.events.response_id
        async with self._database.transaction(work.scope) as transaction:
            recorded = await self._responses.list_passage_places(
                transaction, response_id, inherited=False
            )
        found = [
            (each.document_id, each.document_version, each.start - each.hidden, each.end)
            for each in searched.released
        ]
        if found != recorded:
            raise InterruptedAnswerError

    async def _record(self, work: Work, searched: Searched | FilesRead) -> None:
        """Before a word of a passage is sent: a kept response can always be traced to its sources."""
        if work.lease is None:
            return
        if work.events.has_output:
            await self._require_same(work, searched)
        response_id = work.events.response_id
        async with self._database.transaction(work.scope) as transaction:
            if work.lease.fence > 1 or work.events.broken_off:
                # What was found before, and either nobody saw or is the same: this search takes its place.
                await self._responses.delete_passages(transaction, response_id)
            model = work.request.question.model
            await self._recorder.record(
                transaction, work.scope, work.key, response_id, model, searched.released
            )
            # Last, and locked until this commits: a takeover comes before it, and this comes to nothing, or after.
            await self._log.hold(transaction, work.lease)


def _with_broken_off(work: Work, usage: Usage) -> Usage:
    """What an answer took with those that broke off before it: as it is counted."""
    spent = work.spent
    return replace(
        usage,
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cached_tokens=spent.cached_tokens,
        estimated=True,
    )


def _sealed(work: Work, reasoning: Reasoning) -> str | None:
    """A thought as it is given back: under the response's key, or its principal's where nothing is kept."""
    thought = asdict(reasoning)
    if work.lease is not None:
        return seal_carried(work.key, work.scope.tenant_id, work.events.response_id, thought)
    if work.thoughts_key is None or work.rests_on:
        # Of what rests on documents no copy is given away that would outlast them.
        return None
    return seal_own(work.thoughts_key, work.scope, thought)
