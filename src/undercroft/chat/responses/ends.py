"""Keeps the ends of responses."""

from collections.abc import Sequence

from undercroft.chat.conversations.turns import ConversationTurns
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.reading import no_response, seal_resource
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.work import Work
from undercroft.chat.streams.service import StreamLog
from undercroft.chat.streams.writer import OpenStream
from undercroft.kit.database import Database
from undercroft.kit.errors import UndercroftError
from undercroft.metering.models import Ending
from undercroft.metering.service import Metering


class ResponseEnds:
    """Keeps what responses come to, with what they took.

    What they took is counted in quotas only after that: others may stay in a quota's window, and whoever prolongs
    leases or watches streams would wait for a stream that is about to end.
    """

    def __init__(
        self, database: Database, turns: ConversationTurns, log: StreamLog, metering: Metering
    ) -> None:
        self._database = database
        self._turns = turns
        self._log = log
        self._metering = metering
        self._repository = ResponseRepository()

    async def keep(self, work: Work, stream: OpenStream, closing: Sequence[WireObject]) -> None:
        """Keep the last events of a response, its turn of a conversation and its end: all or nothing.

        Raises:
            LeaseLostError: When it is another process's to end, or gone.
        """
        response_id, resource = work.events.response_id, work.events.resource
        conversation_id = work.request.conversation_id
        async with self._database.transaction(work.scope) as transaction:
            if conversation_id is not None:
                await self._turns.end(
                    transaction, work.scope, conversation_id, response_id, resource["output"]
                )
            # The response before its stream: in this order whoever erases it locks them.
            await self._repository.finish_response(
                transaction,
                response_id,
                resource["status"],
                seal_resource(
                    work.key, work.scope.tenant_id, response_id, resource, work.request.input()
                ),
            )
            await self._log.end(transaction, stream, closing, conversation_id)
            # After its lease was looked at: who took it over has not ended it by then.
            ending = await self._metering.end(transaction, response_id, work.spent)
        if ending is Ending.OWED:
            await self._metering.settle(response_id)

    async def find_loss(self, work: Work) -> UndercroftError | None:
        """Why nobody makes a response any more, which then has ended; None where another process does."""
        response_id = work.events.response_id
        ending = Ending.BEFORE
        async with self._database.transaction(work.scope) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            is_made = row is not None and row["key_id"] is not None
            if not is_made:
                ending = await self._metering.end(transaction, response_id, work.spent)
        if ending is Ending.OWED:
            await self._metering.settle(response_id)
        if is_made:
            return None
        return no_response(response_id) if row is None else SourceErasedError()
