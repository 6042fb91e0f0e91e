"""Responses that this process makes: each a task of its own, whoever asked for it and whoever watches.

An event is on disk before anybody sees it; the last ones and the response's end are one transaction.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import structlog

from undercroft.chat.conversations.turns import ConversationTurns
from undercroft.chat.responses.beginning import Beginning, ResponseBeginnings
from undercroft.chat.responses.chain import ResponseChain
from undercroft.chat.responses.ends import ResponseEnds
from undercroft.chat.responses.events import TERMINAL_EVENTS, ResponseEvents
from undercroft.chat.responses.making import ResponseMaker
from undercroft.chat.responses.models import ResponseRequest, WireObject
from undercroft.chat.responses.queueing import TurnQueue
from undercroft.chat.responses.reading import redact
from undercroft.chat.responses.room import RunLimits
from undercroft.chat.responses.run import Running
from undercroft.chat.responses.summaries import ConversationSummaries
from undercroft.chat.responses.summing_up import SummingUp
from undercroft.chat.responses.work import Work
from undercroft.chat.room import FairRoom
from undercroft.chat.streams.errors import LeaseLostError
from undercroft.chat.streams.models import Lease
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.streams.writer import OpenStream
from undercroft.idempotency.service import Once
from undercroft.kit.database import DATABASE_GONE, Database
from undercroft.kit.errors import UndercroftError
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.metering.service import Charge, Metering
from undercroft.vault.keys.service import KeyRing

_log = structlog.stdlib.get_logger(__name__)


class ResponseRuns:
    """Begins, ends and cancels responses.

    Attributes:
        queue: Where those wait that have to.
        room: For how many there is room.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        maker: ResponseMaker,
        turns: ConversationTurns,
        chain: ResponseChain,
        process: StreamProcess,
        metering: Metering,
        limits: RunLimits,
        summaries: ConversationSummaries,
        summing_up: SummingUp,
    ) -> None:
        self._database = database
        self._maker = maker
        self._process = process
        self._ends = ResponseEnds(database, turns, process.log, metering)
        self._limits = limits
        self._summing_up = summing_up
        self.room = FairRoom(limits.most)
        self._doorways = metering.doorways
        self.queue = TurnQueue(database, ledger, turns, process)
        self._beginnings = ResponseBeginnings(
            database, keys, ledger, turns, chain, summaries, self.queue, process.log
        )
        self._running: dict[UUID, Running] = {}
        self._alone: dict[UUID, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closing = False

    @property
    def running(self) -> Mapping[UUID, Running]:
        """What is being made now."""
        return self._running

    async def begin(
        self,
        scope: Scope,
        request: ResponseRequest,
        events: ResponseEvents,
        charge: Charge,
        once: Once | None = None,
    ) -> Running:
        """Keep that a response is being made, and make it. Its first event is shown when the caller next waits.

        Args:
            scope: Who asks.
            request: What.
            events: Of the new response.
            charge: What it is held to.
            once: The key under which it is made, if there is one: both are kept, or neither.

        Raises:
            Exception: As ``ResponseBeginnings.keep``.
        """
        (running,) = await self.begin_all(scope, [Beginning(request, events, once)], charge)
        return running

    async def begin_all(
        self, scope: Scope, beginnings: Sequence[Beginning], charge: Charge
    ) -> list[Running]:
        """Keep that responses are being made, and make them: see ``ResponseBeginnings.keep``."""
        async with self._doorways.through(scope.tenant_id):
            begun = await self._beginnings.keep(scope, beginnings, charge)
        for interrupted in (ended for each in begun for ended in each.interrupted):
            self.wanted_ended(interrupted)
        return [
            self.run(each.work, each.lease, OpenStream(each.lease, each.work.key), each.waiting)
            for each in begun
        ]

    def wanted_ended(self, response_id: UUID) -> None:
        """Have a response end, if this process makes it."""
        running = self._running.get(response_id)
        if running is not None:
            running.cancel()

    def run(
        self,
        work: Work,
        lease: Lease,
        stream: OpenStream,
        waiting: Sequence[WireObject] | None = None,
    ) -> Running:
        """Make a response whose stream is this process's.

        Args:
            work: The response.
            lease: Under which it is made.
            stream: Where its events go.
            waiting: What is told first, where it has to wait for its turn.
        """
        running = Running(work, lease, stream, waiting)
        return self._start(running, self._run(running))

    def conclude(
        self, work: Work, lease: Lease, stream: OpenStream, closing: Sequence[WireObject]
    ) -> None:
        """End a response whose stream is this process's, and of which no more is to be made."""
        running = Running(work, lease, stream)
        self._start(running, self._end(running, closing))

    def _start(self, running: Running, work: Coroutine[Any, Any, None]) -> Running:
        self._running[running.id] = running
        self.room.take(running.lease.tenant_id)
        running.task = asyncio.create_task(work)
        running.task.add_done_callback(lambda _: self._forget(running))
        return running

    async def left(self, response_id: UUID) -> None:
        """A watcher has left: unless another one comes in time, the response ends."""
        running = self._running.get(response_id)
        if running is None or running.is_background or self._process.live.is_watched(response_id):
            return
        if self._limits.grace_seconds == 0:
            await self.cancel(running)
            return
        if response_id not in self._alone:
            self._wait_for_return(running)

    async def cancel(self, running: Running) -> None:
        """End a response with what there is of it; returns once it has ended."""
        running.cancel()
        if running.task is not None:
            await asyncio.wait({running.task})

    def lose(self, running: Running) -> None:
        """Stop making what is another process's by now, or gone; its watchers are told."""
        running.stop()
        self._attend(self._lose(running))

    async def close(self) -> None:
        """End what was shown in part, and leave the rest to other processes, or this one's successor."""
        self._is_closing = True
        left: list[Lease] = []
        tasks = {running.task for running in self._running.values() if running.task is not None}
        for running in list(self._running.values()):
            has_output = running.is_begun and running.work.events.has_output
            if has_output and not running.work.may_be_left:
                running.cancel()
            elif not running.is_ending:
                running.stop()
                left.append(running.lease)
        for timer in self._alone.values():
            timer.cancel()
        if tasks := tasks | self._ending:
            await asyncio.wait(tasks)
        if left:
            await self._process.leases.release(left)

    def _forget(self, running: Running) -> None:
        self.room.leave(running.lease.tenant_id)
        if self._running.get(running.id) is running:
            del self._running[running.id]
        self.queue.wake(running.work.request.conversation_id)
        timer = self._alone.pop(running.id, None)
        if timer is not None:
            timer.cancel()
        if running.task is not None and not running.task.cancelled():
            # Looked at, so that it is not told as never retrieved; what it was is in the log.
            running.task.exception()

    def _wait_for_return(self, running: Running) -> None:
        loop = asyncio.get_running_loop()
        self._alone[running.id] = loop.call_later(
            self._limits.grace_seconds, self._end_if_alone, running
        )

    def _end_if_alone(self, running: Running) -> None:
        self._alone.pop(running.id, None)
        if self._process.live.is_watched(running.id):
            return
        self._attend(self._end_alone(running))

    def _attend(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done that nobody waits for but who closes this."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_alone(self, running: Running) -> None:
        """Unless somebody watches it by another process, or has come and left again meanwhile."""
        try:
            async with self._database.transaction(running.work.scope) as transaction:
                state = await self._process.log.find(transaction, running.id)
        except DATABASE_GONE:
            self._wait_for_return(running)
            return
        if running.id in self._alone:
            return
        if state is not None and state.is_watched_elsewhere:
            self._wait_for_return(running)
        elif not self._process.live.is_watched(running.id):
            running.cancel()

    async def _run(self, running: Running) -> None:
        running.is_begun = True
        try:
            await self._make(running)
        except asyncio.CancelledError:
            if not running.is_cancelled or running.task is None:
                raise
            running.task.uncancel()
            # Cancelled while it waited for room: what had a number goes before the end.
            await self._end(running, [*running.unwritten, *running.work.events.cancel()])
        except LeaseLostError:
            await self._lose(running)
        except DATABASE_GONE as error:
            # Once the database is back somebody takes it over, and what it comes to is not known here: whoever watches
            # it reads the log, and asks again.
            _log.warning("response_interrupted", response_id=str(running.id), error=repr(error))
            self._process.live.moved([running.id])
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody awaits this task, and watchers must not wait for ever
            _log.error("response_broke_off", response_id=str(running.id), exc_info=error)
            self._break_off(running, list(running.work.events.abandon(error)))

    async def _make(self, running: Running) -> None:
        if running.is_cancelled:
            await self._end(running, list(running.work.events.cancel()))
            return
        if running.waiting is not None and not await self._take_turn(running, running.waiting):
            return
        async with aclosing(self._maker.make(running.work)) as steps:
            async for step in steps:
                if step[-1]["type"] in TERMINAL_EVENTS:
                    await self._end(running, step)
                    return
                running.unwritten = step
                # Together: whoever takes over where an answer begins again finds all that closes the one before.
                await self._process.writer.put(running.stream, *step)
                running.unwritten = []

    async def _take_turn(self, running: Running, waiting: Sequence[WireObject]) -> bool:
        """Wait until all before it have ended; whether it begins then."""
        for event in waiting:
            await self._process.writer.put(running.stream, event)
        try:
            await self.queue.take(running.work, running.lease)
        except UndercroftError as error:
            await self._end(running, list(running.work.events.fail(error)))
            return False
        return True

    async def _end(self, running: Running, closing: Sequence[WireObject]) -> None:
        """Keep the last events and the response's end: both or neither."""
        running.is_ending = True
        try:
            await self._process.writer.settle(running.stream)
            await self._ends.keep(running.work, running.stream, closing)
        except LeaseLostError:
            await self._lose(running)
        except DATABASE_GONE as error:
            _log.warning("response_interrupted", response_id=str(running.id), error=repr(error))
            self._process.live.moved([running.id])
        except Exception as error:  # noqa: BLE001 - of a failed answer its failure is told, whatever keeping it met
            _log.error("response_not_kept", response_id=str(running.id), exc_info=error)
            events = running.work.events
            self._break_off(
                running, closing if events.failure is not None else list(events.abandon(error))
            )
        else:
            self._process.live.publish(running.id, closing)
            if self._summing_up.is_due(running.work) and not self._is_closing:
                self._attend(self._summing_up.begin(self, running.work))

    async def _lose(self, running: Running) -> None:
        """Another process goes on with it, and its watchers read the log; or it was erased or deleted."""
        try:
            gone = await self._ends.find_loss(running.work)
        except DATABASE_GONE:
            gone = None
        if gone is None:
            # Whoever watches it reads on elsewhere, or asks again, and is told.
            self._process.live.moved([running.id])
            return
        error, failed = list(running.work.events.fail(gone))[-2:]
        self._break_off(running, [error, {**failed, "response": redact(failed["response"])}])

    def _break_off(self, running: Running, closing: Sequence[WireObject]) -> None:
        self._process.live.break_off(running.id, closing)
