"""Responses that are not kept: on no disk, and in no process but the one whose watcher reads them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from dataclasses import replace

from undercroft.chat.consumption import bounded, tokens_wanted
from undercroft.chat.responses.events import TERMINAL_EVENTS, ResponseEvents
from undercroft.chat.responses.making import ResponseMaker
from undercroft.chat.responses.models import ResponseRequest, WireObject
from undercroft.chat.responses.own_thoughts import OwnThoughts
from undercroft.chat.responses.reading import redact
from undercroft.chat.responses.work import Work
from undercroft.chat.room import FairRoom
from undercroft.kit.database import Database
from undercroft.kit.scope import Scope
from undercroft.metering.service import Charge, Metering
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.watching import WatchedGrants
from undercroft.vault.keys.service import KeyRing


class UnkeptResponses:
    """Makes them."""

    def __init__(
        self,
        database: Database,
        maker: ResponseMaker,
        keys: KeyRing,
        metering: Metering,
        watched: WatchedGrants,
        room: FairRoom,
    ) -> None:
        self._database = database
        self._maker = maker
        self._keys = keys
        self._metering = metering
        self._room = room
        self._watched = watched

    async def show(
        self, scope: Scope, request: ResponseRequest, events: ResponseEvents, charge: Charge
    ) -> AsyncGenerator[WireObject]:
        """The events, made as fast as their one watcher reads, and ended when they leave.

        Once something is lost that it rests on nothing more of it is shown, whatever was made by then.

        Raises:
            ResponsesBusyError: When as many are being made as may be.
            QuotaSpentError: When it does not fit into a quota now.
            LargerThanQuotaError: When it never will.
        """
        question = request.question
        taking = self._metering.metered(charge, question.model, tokens_wanted(question))
        with self._room.place(scope.tenant_id):
            async with taking as metered:
                request = replace(request, question=bounded(question, charge))
                thoughts_key = await self._derive(scope) if request.include_sealed else None
                work = Work(scope, request, self._keys.generate(), events, None, thoughts_key)
                cut: asyncio.Future[AccessRevokedError] = asyncio.get_running_loop().create_future()
                last = -1
                try:
                    async with aclosing(self._until(cut, work)) as steps:
                        async for step in steps:
                            if step[-1]["type"] in TERMINAL_EVENTS:
                                # Counted before it is seen, as of what is kept.
                                metered.spent = work.spent
                                await metered.settle()
                            for event in step:
                                if cut.done():
                                    break
                                yield event
                                if event["type"] in TERMINAL_EVENTS:
                                    return
                                last = event["sequence_number"]
                    error, failed = list(events.fail(cut.result()))[-2:]
                    yield {**error, "sequence_number": last + 1}
                    response = redact(failed["response"])
                    yield {**failed, "sequence_number": last + 2, "response": response}
                finally:
                    metered.spent = work.spent

    async def _derive(self, scope: Scope) -> bytes:
        async with self._database.transaction(scope) as transaction:
            return await OwnThoughts(self._keys).derive(transaction, scope)

    async def _until(
        self, cut: asyncio.Future[AccessRevokedError], work: Work
    ) -> AsyncGenerator[list[WireObject]]:
        """The steps of an answer; ``cut`` has the reason once something is lost that it rests on, and ends them."""
        rests_on = -1

        def end(reason: AccessRevokedError) -> None:
            if not cut.done():
                cut.set_result(reason)

        with ExitStack() as resting:
            async with aclosing(self._maker.make(work)) as steps:
                async for step in steps:
                    if len(work.rests_on) != rests_on:
                        # More is known by now.
                        rests_on = len(work.rests_on)
                        resting.close()
                        watching = self._watched.register(work.scope, work.rests_on, end)
                        resting.enter_context(watching)
                    yield step
                    if cut.done():
                        return
