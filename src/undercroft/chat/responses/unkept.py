"""Responses that are not kept: on no disk, and in no process but the one whose watcher reads them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from undercroft.chat.consumption import bounded, tokens_wanted
from undercroft.chat.responses.events import TERMINAL_EVENTS, ResponseEvents
from undercroft.chat.responses.making import ResponseMaker, Work
from undercroft.chat.responses.models import ResponseRequest, WireObject
from undercroft.kit.database import Scope
from undercroft.metering.service import Charge, Metering
from undercroft.vault.keys.service import KeyRing


class UnkeptResponses:
    """Makes them."""

    def __init__(self, maker: ResponseMaker, keys: KeyRing, metering: Metering) -> None:
        self._maker = maker
        self._keys = keys
        self._metering = metering

    async def show(
        self, scope: Scope, request: ResponseRequest, events: ResponseEvents, charge: Charge
    ) -> AsyncGenerator[WireObject]:
        """The events, made as fast as their one watcher reads, and ended when they leave.

        Raises:
            QuotaSpentError: When it does not fit into a quota now.
            LargerThanQuotaError: When it never will.
        """
        question = request.question
        taking = self._metering.metered(charge, question.model, tokens_wanted(question))
        async with taking as metered:
            request = replace(request, question=bounded(question, charge))
            work = Work(scope, request, self._keys.generate(), events, lease=None)
            try:
                async with aclosing(self._maker.make(work)) as steps:
                    async for step in steps:
                        if step[-1]["type"] in TERMINAL_EVENTS:
                            # Counted before it is seen, as of what is kept.
                            metered.spent = work.spent
                            await metered.settle()
                        for event in step:
                            yield event
                            if event["type"] in TERMINAL_EVENTS:
                                return
            finally:
                metered.spent = work.spent
