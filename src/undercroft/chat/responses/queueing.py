"""Responses of one conversation take turns: which one is next is decided while the conversation is locked.

So of two that are sent at once one is first, whichever processes take them in. The other waits in its own process, and
looks when somebody says that one has ended; what says nothing any more, because its process died, is ended by whoever
takes it over.
"""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from undercroft.chat.conversations.errors import ConversationBusyError, QueueFullError
from undercroft.chat.conversations.models import IfBusy
from undercroft.chat.conversations.turns import ConversationTurns, HeldConversation
from undercroft.chat.responses.models import RESPONSE_PREFIX, ResponseRequest
from undercroft.chat.responses.reading import seal_resource
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.work import Work
from undercroft.chat.streams.models import Lease, OpenTurn, Turn
from undercroft.chat.streams.process import StreamProcess
from undercroft.kit.database import DATABASE_GONE, Database, Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import AccessRevokedError

_log = structlog.stdlib.get_logger(__name__)

MOST_WAITING: Final = 20
"""The most responses of a conversation that wait for their turn."""


@dataclass(frozen=True, slots=True)
class Place:
    """A new response's place in its conversation.

    Attributes:
        held: The conversation.
        turn: For its stream.
        interrupted: Those that end for it, wherever they are made.
    """

    held: HeldConversation
    turn: Turn
    interrupted: Sequence[UUID]


class TurnQueue:
    """Has the responses of a conversation made one after the other.

    Args:
        database: Where conversations and streams are.
        ledger: Where it is put on record who ends whose response.
        turns: Locks conversations, and adds to them.
        process: Knows which responses have not ended.
    """

    def __init__(
        self, database: Database, ledger: Ledger, turns: ConversationTurns, process: StreamProcess
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._turns = turns
        self._process = process
        self._repository = ResponseRepository()
        self._waiting: dict[UUID, tuple[UUID, asyncio.Event]] = {}

    async def enter(
        self, transaction: Transaction, scope: Scope, request: ResponseRequest
    ) -> Place | None:
        """Lock a new response's conversation until the transaction ends, and find its place in it; None outside of any.

        Raises:
            UndercroftError: When the conversation cannot be written: see ``ConversationTurns.hold``.
            ConversationBusyError: When another response is being made, and this one is not to wait for it, or would
                interrupt what is not its asker's to end.
            QueueFullError: When too many wait.
        """
        if request.conversation_id is None:
            return None
        held = await self._turns.hold(transaction, request.conversation_id)
        before = await self._process.log.list_open_turns(transaction, request.conversation_id)
        if_busy = request.if_busy or held.conversation.if_busy
        if before and if_busy is IfBusy.REJECT:
            raise ConversationBusyError
        interrupted: Sequence[UUID] = ()
        if if_busy is IfBusy.INTERRUPT:
            # Whatever waits ends with it: the queue is never too full for that.
            interrupted = await self._interrupt(transaction, scope, held, before)
        elif sum(each.is_waiting for each in before) >= MOST_WAITING:
            raise QueueFullError(MOST_WAITING)
        return Place(held, Turn(request.conversation_id, is_waiting=bool(before)), interrupted)

    async def take(self, work: Work, lease: Lease) -> None:
        """Wait until all that were sent before a response have ended, and begin it.

        Raises:
            UndercroftError: When the conversation cannot be written any more: see ``ConversationTurns.hold``.
            AccessRevokedError: When its asker was suspended meanwhile.
            LeaseLostError: When it is another process's to make, or gone.
        """
        conversation_id = work.request.conversation_id
        if conversation_id is None:
            raise RuntimeError("a turn outside of any conversation")
        with self._listen(lease.response_id, conversation_id) as news:
            while True:
                # Before it is looked: what ends while it looks is not missed.
                news.clear()
                try:
                    if await self._try(work, lease, conversation_id):
                        return
                except DATABASE_GONE as error:
                    # Its turn is not lost with one try: whoever looks for due turns wakes it once the database is back.
                    _log.warning(
                        "turn_postponed", response_id=str(lease.response_id), error=repr(error)
                    )
                await news.wait()

    def wake(self, conversation_id: UUID | None) -> None:
        """A response of the conversation has ended: have those look that wait in it."""
        for waited_for, news in self._waiting.values():
            if waited_for == conversation_id:
                news.set()

    async def look(self) -> int:
        """Have those look whose turn has come: what tells them of it can get lost. How many there are."""
        if not self._waiting:
            return 0
        due = await self._process.leases.list_due_turns(list(self._waiting))
        for response_id in due:
            if response_id in self._waiting:
                self._waiting[response_id][1].set()
        return len(due)

    @contextmanager
    def _listen(self, response_id: UUID, conversation_id: UUID) -> Generator[asyncio.Event]:
        news = asyncio.Event()
        self._waiting[response_id] = (conversation_id, news)
        try:
            yield news
        finally:
            del self._waiting[response_id]

    async def _try(self, work: Work, lease: Lease, conversation_id: UUID) -> bool:
        response_id, scope, events = lease.response_id, work.scope, work.events
        async with self._database.transaction(scope) as transaction:
            held = await self._turns.hold(transaction, conversation_id)
            if not await self._process.log.is_due(transaction, lease):
                return False
            if not await may_still_ask(transaction, scope):
                raise AccessRevokedError
            begun = {**events.resource, "status": "in_progress"}
            sealed = seal_resource(
                work.key, scope.tenant_id, response_id, begun, work.request.input()
            )
            # What is asked first: it may wait for documents that are being erased, and who has those locks responses.
            await self._turns.begin(
                transaction, scope, held, response_id, work.request.input_items, work.request.parent
            )
            # The response before its stream: in this order whoever deletes it locks them.
            await self._repository.start_response(transaction, response_id, sealed)
            await self._process.log.take_turn(transaction, lease)
        return True

    async def _interrupt(
        self,
        transaction: Transaction,
        scope: Scope,
        held: HeldConversation,
        before: Sequence[OpenTurn],
    ) -> Sequence[UUID]:
        is_owner = held.conversation.owner_id == scope.principal_id
        if not is_owner and any(each.principal_id != scope.principal_id for each in before):
            raise ConversationBusyError
        for each in before:
            await self._end(transaction, scope, each)
        return [each.response_id for each in before]

    async def _end(self, transaction: Transaction, scope: Scope, turn: OpenTurn) -> None:
        is_wanted = await self._process.log.request_cancel(transaction, turn.response_id)
        row = await self._repository.find_response_owner(transaction, turn.response_id)
        if is_wanted and row is not None:
            subject = Subject(render_id(RESPONSE_PREFIX, turn.response_id), row["salt"])
            act = Act("response.cancel", subject, row["owner_id"])
            await self._ledger.append(transaction, scope, act)


async def may_still_ask(transaction: Transaction, asker: Scope) -> bool:
    """Whether neither who asked nor who acted for them was suspended or removed since, or owes a second factor."""
    people = list({asker.principal_id, asker.actor_id or asker.principal_id})
    repository = ResponseRepository()
    if not await repository.may_still_ask(transaction, people):
        return False
    return not await repository.owes_factor(transaction, people)
