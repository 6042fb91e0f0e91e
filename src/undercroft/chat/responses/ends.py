"""Keeps the ends of responses."""

from collections.abc import Sequence
from uuid import UUID

from undercroft.chat.conversations.turns import ConversationTurns
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.models import ResponseEnd, WireObject
from undercroft.chat.responses.reading import no_response, seal_resource
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.work import Work
from undercroft.chat.streams.errors import LeaseLostError
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
        tenant_id, input_ = work.scope.tenant_id, work.request.input()
        sealed = seal_resource(work.key, tenant_id, response_id, resource, input_)
        run, notice = self._log.close(stream, closing)
        end = ResponseEnd(resource["status"], sealed, run, notice, work.spent)
        conversation_id = work.request.conversation_id
        if conversation_id is None:
            async with self._database.scoped_statement() as connection:
                ending = _kept(
                    await self._repository.end_response_alone(connection, work.scope, end)
                )
        else:
            ending = await self._end_turn(work, conversation_id, end)
        if ending is Ending.OWED:
            await self._metering.settle(response_id)

    async def _end_turn(self, work: Work, conversation_id: UUID, end: ResponseEnd) -> Ending:
        """End a response and its turn of a conversation: both, or neither.

        Raises:
            LeaseLostError: When it is another process's to end, or gone.
        """
        response_id, output = work.events.response_id, work.events.resource["output"]
        async with self._database.transaction(work.scope) as transaction:
            await self._turns.end(transaction, work.scope, conversation_id, response_id, output)
            ending = _kept(await self._repository.end_response(transaction, end))
            await self._log.tell_turn(transaction, conversation_id)
            return ending

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


def _kept(ending: Ending | None) -> Ending:
    """How a response has ended.

    Raises:
        LeaseLostError: When it was another process's to end, or gone.
    """
    if ending is None:
        raise LeaseLostError
    return ending
