"""Responses are ended before they have ended by themselves, in whichever process makes them."""

import asyncio
from typing import Final
from uuid import UUID

from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.chat.responses.reading import no_response
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.running import ResponseRuns
from undercroft.chat.streams.live import Subscription
from undercroft.chat.streams.process import StreamProcess
from undercroft.kit.database import Database
from undercroft.kit.errors import UnavailableError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError

_CANCEL_SECONDS: Final = 20.0
"""How long whoever cancels waits for the process that makes the response."""


class ResponseCancel:
    """Ends responses on their owner's word.

    Args:
        database: Where responses are.
        ledger: Where it is put on record who ended what.
        process: Shows whether they have ended.
        runs: What this process is making.
    """

    def __init__(
        self, database: Database, ledger: Ledger, process: StreamProcess, runs: ResponseRuns
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._process = process
        self._runs = runs
        self._repository = ResponseRepository()

    async def cancel(self, scope: Scope, response_id: UUID) -> None:
        """End a response that is being made, and wait until it has ended; one that has ended stays as it is.

        Raises:
            NotFoundError: When the principal may see no such response.
            NotGrantedError: When it is shared with them: it is its owner's to cancel.
            UnavailableError: When whoever makes it does not answer in time.
        """
        with self._process.live.subscribe(response_id, is_behind=True) as subscription:
            is_wanted = await self._request(scope, response_id)
            running = self._runs.running.get(response_id)
            try:
                async with asyncio.timeout(_CANCEL_SECONDS):
                    if running is not None:
                        await self._runs.cancel(running)
                    has_ended = not is_wanted or await self._wait_for_end(
                        scope, response_id, subscription
                    )
            except TimeoutError:
                has_ended = False
        if not has_ended:
            raise UnavailableError(
                "Whoever makes this answer has not ended it yet, and will; ask for it in a moment.",
                retry_after=5,
            )

    async def _request(self, scope: Scope, response_id: UUID) -> bool:
        """Whether it is being made; if so, it is on record that it is to end."""
        find = find_target(RESPONSE_PREFIX, response_id, self._repository.find_response_owner)
        refusing = recording_refusal(self._database, self._ledger, scope, "response.cancel", find)
        async with refusing as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None:
                raise no_response(response_id)
            if row["owner_id"] != scope.principal_id:
                raise NotGrantedError
            is_wanted = await self._process.log.request_cancel(transaction, response_id)
            if is_wanted and row["salt"] is not None:
                subject = Subject(render_id(RESPONSE_PREFIX, response_id), row["salt"])
                act = Act("response.cancel", subject, scope.principal_id)
                await self._ledger.append(transaction, scope, act)
        return is_wanted

    async def _wait_for_end(
        self, scope: Scope, response_id: UUID, subscription: Subscription
    ) -> bool:
        """Whether a stream ends; False when its maker could not keep its end, and another process will."""
        while not await self._has_ended(scope, response_id):
            await subscription.take()
            if subscription.last_words is not None:
                return False
        return True

    async def _has_ended(self, scope: Scope, response_id: UUID) -> bool:
        async with self._database.transaction(scope) as transaction:
            state = await self._process.log.find(transaction, response_id)
        return state is None or state.is_ended
