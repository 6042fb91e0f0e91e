"""Responses: created, watched, read, cancelled, deleted."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import replace
from uuid import UUID

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.turns import ConversationTurns
from undercroft.chat.responses.beginning import Beginning
from undercroft.chat.responses.cancelling import ResponseCancel
from undercroft.chat.responses.carried_content import CarriedContent
from undercroft.chat.responses.chain import ResponseChain
from undercroft.chat.responses.compacting import Compaction
from undercroft.chat.responses.endings import tell_end, whole_of
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.kept import KeptResponses
from undercroft.chat.responses.making import ResponseMaker
from undercroft.chat.responses.models import ResponseRequest, WireObject
from undercroft.chat.responses.open_turns import OpenTurns
from undercroft.chat.responses.provenance import AnswerRecorder
from undercroft.chat.responses.room import RunLimits
from undercroft.chat.responses.running import ResponseRuns
from undercroft.chat.responses.summaries import ConversationSummaries
from undercroft.chat.responses.summing_up import SummingUp
from undercroft.chat.responses.takeover import ResponseTakeover
from undercroft.chat.responses.tool_calls import ResponseTools
from undercroft.chat.responses.unkept import UnkeptResponses
from undercroft.chat.responses.watching import ResponseWatch
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.tools.client import ToolClient
from undercroft.idempotency.service import Once
from undercroft.identity.policies import TenantPolicies
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.metering.service import Charge, Metering
from undercroft.sharing.watching import WatchedGrants
from undercroft.vault.keys.service import KeyRing


class ResponseService:
    """Creates, shows, cancels and deletes responses.

    Attributes:
        runs: What this process is making.
        watching: What it shows.
        takeover: What it has of other processes.
        open_turns: What of conversations has not ended.
        compaction: Sums up what was said.

    Args:
        database: Where responses are.
        keys: Open what is kept of them.
        ledger: Where it is put on record who did what.
        answers: Answers questions.
        ids: Names responses and their items.
        clock: Dates them.
        watched: Tells watchers what they have lost.
        process: Writes and shows their events.
        metering: Counts what they take.
        limits: How many are made at once, and for how long nobody need be watching.
        policies: What tenants allow.
        tools: Asks servers of tools.
        summary_model: Sums long conversations up in the background: see ``SummingUp``.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        answers: Answerer,
        ids: IdSource,
        clock: Clock,
        watched: WatchedGrants,
        process: StreamProcess,
        metering: Metering,
        limits: RunLimits,
        policies: TenantPolicies,
        tools: ToolClient,
        summary_model: str | None = None,
    ) -> None:
        self._answers = answers
        self._ids = ids
        self._clock = clock
        self._process = process
        recorder = AnswerRecorder(ledger)
        summaries = ConversationSummaries(keys)
        self._turns = ConversationTurns(database, keys, ledger, answers, ids, summaries)
        self._chain = ResponseChain(database, keys, ledger, answers)
        self._tools = ResponseTools(database, ledger, process.log, policies, watched, tools)
        self._carried = CarriedContent(database, keys, ledger, answers)
        self._maker = ResponseMaker(
            database,
            answers,
            recorder,
            self._turns,
            self._chain,
            process.log,
            self._tools,
            self._carried,
            clock,
        )
        self.runs = ResponseRuns(
            database,
            keys,
            ledger,
            self._maker,
            self._turns,
            self._chain,
            process,
            metering,
            limits,
            summaries,
            SummingUp(answers, ids, clock, summary_model),
        )
        self.watching = ResponseWatch(database, keys, ledger, clock, watched, process, self.runs)
        self.takeover = ResponseTakeover(database, keys, ids, clock, process, self.runs)
        self._cancelling = ResponseCancel(database, ledger, process, self.runs)
        self.open_turns = OpenTurns(database, process)
        self._unkept = UnkeptResponses(
            database, self._maker, keys, metering, watched, self.runs.room
        )
        self._kept = KeptResponses(database, keys, ledger)
        self.compaction = Compaction(database, keys, ids, self)

    async def stream(
        self,
        scope: Scope,
        request: ResponseRequest,
        once: Once | None = None,
        charge: Charge | None = None,
    ) -> AsyncGenerator[WireObject]:
        """The events of a new response. Who closes the generator leaves it; see ``RunLimits``.

        After the first event an error is an event too, and the stream ends with ``response.failed``.

        Raises:
            UndercroftError: Before the first event, when the model or a collection cannot be used.
        """
        request, events = await self._prepare(scope, request)
        made = await self._begun(scope, request, events, once, charge or Charge(scope))
        async with aclosing(_told(made, -1)) as told:
            async for event in told:
                yield event

    async def stream_several(
        self, scope: Scope, wanted: Sequence[tuple[ResponseRequest, Once]], charge: Charge
    ) -> list[AsyncGenerator[WireObject]]:
        """As :meth:`stream`, of several responses that are one request: all of them are begun, or none.

        Raises:
            UndercroftError: When the model or a collection cannot be used, or they do not fit into a quota.
            MadeBeforeError: When one was made under its key before.
        """
        beginnings = [
            Beginning(*(await self._prepare(scope, request)), once) for request, once in wanted
        ]
        with ExitStack() as places:
            for _ in beginnings:
                places.enter_context(self.runs.room.place(scope.tenant_id))
            running = await self.runs.begin_all(scope, beginnings, charge)
        made = [self.watching.watch_own(each) for each in running]
        # All are watched before the first event of any is on disk.
        begun = [asyncio.create_task(_first(each)) for each in made]
        try:
            first = [await task for task in begun]
        except BaseException:
            for task in begun:
                task.cancel()
            await asyncio.wait(begun)
            for events, each in zip(made, running, strict=True):
                await events.aclose()
                # Also of one that nobody had begun to watch.
                await self.runs.left(each.id)
            raise
        return [
            _told(_resumed(event, events), -1) for event, events in zip(first, made, strict=True)
        ]

    async def create(
        self,
        scope: Scope,
        request: ResponseRequest,
        once: Once | None = None,
        charge: Charge | None = None,
    ) -> WireObject:
        """A whole response at once.

        Raises:
            UndercroftError: When it failed; the kept response says so too.
        """
        request, events = await self._prepare(scope, request)
        resource: WireObject = events.resource
        shown = await self._begun(scope, request, events, once, charge or Charge(scope))
        async with aclosing(shown) as made:
            async for event in made:
                resource = event.get("response", resource)
        if events.failure is not None:
            raise events.failure
        return resource

    async def begin(
        self,
        scope: Scope,
        request: ResponseRequest,
        once: Once | None = None,
        charge: Charge | None = None,
    ) -> WireObject:
        """A new response as it is before anything of it is made; it is made in the background.

        Raises:
            UndercroftError: When the model or a collection cannot be used, or too many are being made.
        """
        request, events = await self._prepare(scope, request)
        with self.runs.room.place(scope.tenant_id):
            await self.runs.begin(scope, request, events, charge or Charge(scope), once)
        return events.resource

    def watch(
        self, scope: Scope, response_id: UUID, after: int, *, tells_waiting: bool = False
    ) -> AsyncGenerator[WireObject]:
        """The events of a kept response that follow the one numbered ``after``; live, while it is being made.

        With ``tells_waiting``, ``NOTHING_YET`` comes first where none follows yet: the principal may wait for them.

        After the first event an error is an event too, and the last one.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
            AccessRevokedError: When one of its sources may not, or no more, be read by the principal.
        """
        watched = self.watching.watch(scope, response_id, after, tells_waiting=tells_waiting)
        return _told(watched, after)

    async def wait(self, scope: Scope, response_id: UUID) -> WireObject:
        """A kept response once it has ended, as :meth:`create` would have answered it.

        Raises:
            NotFoundError: When the principal may see no such response.
            UndercroftError: When it failed, or may not be read any more.
        """
        async with aclosing(self.watch(scope, response_id, -1)) as events:
            return await whole_of(events)

    async def cancel(self, scope: Scope, response_id: UUID) -> WireObject:
        """End a response that is being made, in whichever process; what was made of it is kept.

        Returns:
            The response, ended; as it is, where it had ended before.

        Raises:
            NotFoundError: When the principal may see no such response.
            NotGrantedError: When it is shared with them: it is its owner's to cancel.
            UnavailableError: When whoever makes it does not answer in time.
        """
        await self._cancelling.cancel(scope, response_id)
        return await self.get(scope, response_id)

    def moved(self, response_ids: Sequence[UUID] | None) -> None:
        """Another process says that these have new events; None: any of them may have."""
        self._process.live.moved(response_ids)

    def wanted_ended(self, response_id: UUID) -> None:
        """Another process says that somebody wants this one ended."""
        self.runs.wanted_ended(response_id)

    def turn_ended(self, conversation_id: UUID) -> None:
        """Another process says that a response of this conversation has ended."""
        self.runs.queue.wake(conversation_id)

    async def get(
        self, scope: Scope, response_id: UUID, *, include_sealed: bool = False
    ) -> WireObject:
        """A kept response, its content removed when one of its sources may not or no more be read by the principal.

        With ``include_sealed`` its thoughts are shown as their model wants them back, sealed.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
        """
        return await self._kept.get(scope, response_id, include_sealed=include_sealed)

    async def list_input(self, scope: Scope, response_id: UUID) -> list[WireObject]:
        """What a kept response was asked with, first to last, as :meth:`get` shows what was answered.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
        """
        return await self._kept.list_input(scope, response_id)

    async def delete(self, scope: Scope, response_id: UUID) -> None:
        """Delete a kept response.

        Raises:
            NotFoundError: When the principal may see no such response.
            NotGrantedError: When it is shared with them: it is its owner's to delete.
        """
        await self._kept.delete(scope, response_id)
        running = self.runs.running.get(response_id)
        if running is not None:
            self.runs.lose(running)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a response, for its owner alone; None when it is gone."""
        return await self._kept.find_salt(transaction, scope, reference)

    async def _prepare(
        self, scope: Scope, request: ResponseRequest
    ) -> tuple[ResponseRequest, ResponseEvents]:
        """The request with an id for each item, and what makes events of its answer."""
        await self._answers.check(scope, request.question)
        self._tools.check(request.question.servers)
        await self._carried.check(scope, request.question)
        if request.conversation_id is not None:
            await self._turns.check(scope, request.conversation_id)
        if request.previous_id is not None:
            await self._chain.check(scope, request.previous_id)
        events = ResponseEvents(
            self._ids.new(),
            self._clock.now(),
            request.echo,
            self._ids,
            include_results=request.include_results,
            include_sealed=request.include_sealed,
        )
        items = (replace(item, id=self._ids.new()) for item in request.input_items)
        return replace(request, input_items=tuple(items)), events

    async def _begun(
        self,
        scope: Scope,
        request: ResponseRequest,
        events: ResponseEvents,
        once: Once | None,
        charge: Charge,
    ) -> AsyncGenerator[WireObject]:
        """The events of a new response, for whoever asks for the first of them before they wait for anything else."""
        if not request.store:
            return self._unkept.show(scope, request, events, charge)
        with self.runs.room.place(scope.tenant_id):
            running = await self.runs.begin(scope, request, events, charge, once)
        # Nothing is awaited in between: the first event is not made before it is watched.
        return self.watching.watch_own(running)


async def _first(events: AsyncGenerator[WireObject]) -> WireObject:
    return await anext(events)


async def _resumed(
    first: WireObject, events: AsyncGenerator[WireObject]
) -> AsyncGenerator[WireObject]:
    """Events of which the first was taken before."""
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


async def _told(events: AsyncGenerator[WireObject], after: int) -> AsyncGenerator[WireObject]:
    """Events that follow the one numbered ``after``; behind the first one an error is an event too, and the last.

    One that passes is raised: with a number it would stand in the place of an event that there is, and whoever goes on
    behind it would not see that one.
    """
    last: int | None = None
    try:
        async with aclosing(events):
            async for event in events:
                yield event
                last = event.get("sequence_number", after)
    except UndercroftError as error:
        if last is None or error.kind is ErrorKind.UNAVAILABLE:
            raise
        yield tell_end(error, last + 1)
