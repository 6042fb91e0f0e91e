"""Keeps that responses are being made, before anything of them is."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from undercroft.chat.consumption import bounded, tokens_wanted
from undercroft.chat.conversations.turns import ConversationTurns
from undercroft.chat.responses.asked import seal_asked
from undercroft.chat.responses.chain import ResponseChain
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.models import RESPONSE_PREFIX, ResponseRequest, WireObject
from undercroft.chat.responses.provenance import state_answer
from undercroft.chat.responses.queueing import Place, TurnQueue
from undercroft.chat.responses.reading import seal_resource
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.summaries import ConversationSummaries
from undercroft.chat.responses.work import Work
from undercroft.chat.streams.models import Lease
from undercroft.chat.streams.service import StreamLog
from undercroft.idempotency.service import Once
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.metering.service import Charge
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing


@dataclass(frozen=True, slots=True)
class Beginning:
    """A response that is to be begun.

    Attributes:
        request: What is asked.
        events: Of the new response.
        once: The key under which it is made, if there is one: both are kept, or neither.
    """

    request: ResponseRequest
    events: ResponseEvents
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """One that is.

    Attributes:
        waiting: What is told first, where it has to wait for its turn.
        interrupted: What else it ends.
    """

    work: Work
    lease: Lease
    waiting: Sequence[WireObject] | None
    interrupted: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class _Inserted:
    """One that is kept, and not yet to be made."""

    wanted: Beginning
    key: DataKey = field(repr=False)
    place: Place | None
    waiting: Sequence[WireObject] | None

    @property
    def id(self) -> UUID:
        """Which."""
        return self.wanted.events.response_id


class ResponseBeginnings:
    """Keeps responses that are to be made."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        turns: ConversationTurns,
        chain: ResponseChain,
        summaries: ConversationSummaries,
        queue: TurnQueue,
        log: StreamLog,
    ) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._turns = turns
        self._chain = chain
        self._summaries = summaries
        self._queue = queue
        self._log = log
        self._repository = ResponseRepository()

    async def keep(
        self, scope: Scope, beginnings: Sequence[Beginning], charge: Charge
    ) -> list[Begun]:
        """Keep that responses are being made: all of them, or none. Together they are one request.

        Args:
            scope: Who asks.
            beginnings: What; one at least.
            charge: What they are held to.

        Raises:
            MadeBeforeError: When one was made under its key before.
            UndercroftError: When they do not fit into a quota: see ``Charge.reserve``.
            ConversationBusyError: When another one of its conversation is being made, and this was not to wait.
            QueueFullError: When too many of its conversation wait.
            PreviousNotFoundError: When the response that it goes on from was deleted.
            AlreadySummedUpError: When it would be a summary and another one is made, or there.
        """
        async with self._database.transaction(scope) as transaction:
            inserted = [await self._insert(transaction, scope, each) for each in beginnings]
            # Late: all of its tenant's requests wait for each other here, until this commits.
            questions = [each.wanted.request.question for each in inserted]
            (first_id, first), *others = [
                (each.id, tokens_wanted(question))
                for each, question in zip(inserted, questions, strict=True)
            ]
            await charge.reserve(transaction, first_id, questions[0].model, first, *others)
            return [await self._begin(transaction, scope, each, charge) for each in inserted]

    async def _insert(self, transaction: Transaction, scope: Scope, wanted: Beginning) -> _Inserted:
        request, events = wanted.request, wanted.events
        key, response_id = self._keys.generate(), events.response_id
        reference = render_id(RESPONSE_PREFIX, response_id)
        acts = [Act("response.create", Subject(reference, key.salt), scope.principal_id)]
        if request.question.search is None and not request.question.files:
            # From no passages: nothing about its sources is left to be found out.
            acts.append(state_answer(scope, key, response_id, request.question.model))
        if wanted.once is not None:
            # First: of two with one key the second waits here, and has done nothing yet.
            await wanted.once.claim(transaction, reference)
        # Before anything is written: its end goes this way, too.
        place = await self._queue.enter(transaction, scope, request)
        waiting = list(events.queue()) if place is not None and place.turn.is_waiting else None
        if request.previous_id is not None:
            await self._chain.hold(transaction, request.previous_id)
        if request.sum_up is not None:
            await self._turns.hold(transaction, request.sum_up.conversation_id)
            await self._summaries.claim(transaction, request.sum_up)
        await self._keys.keep(transaction, scope, key)
        _, *answered = await self._ledger.append(transaction, scope, *acts)
        await self._repository.insert_response(
            transaction,
            response_id,
            events.resource["status"],
            key.id,
            seal_resource(key, scope.tenant_id, response_id, events.resource, request.input()),
            answered[0] if answered else None,
            request.previous_id,
            is_short_lived=request.is_short_lived,
        )
        if request.previous_id is not None:
            await self._chain.begin(
                transaction, request.previous_id, response_id, request.input_items
            )
        if request.sum_up is not None:
            await self._summaries.keep(transaction, response_id, request.sum_up)
        if place is not None and waiting is None:
            await self._turns.begin(
                transaction, scope, place.held, response_id, request.input_items, request.parent
            )
        return _Inserted(wanted, key, place, waiting)

    async def _begin(
        self, transaction: Transaction, scope: Scope, inserted: _Inserted, charge: Charge
    ) -> Begun:
        wanted, key, place = inserted.wanted, inserted.key, inserted.place
        lease = Lease(scope.tenant_id, scope.principal_id, inserted.id, fence=1)
        request = replace(wanted.request, question=bounded(wanted.request.question, charge))
        await self._log.begin(
            transaction,
            inserted.id,
            seal_asked(key, scope, inserted.id, request),
            None if place is None else place.turn,
        )
        work = Work(scope, request, key, wanted.events, lease)
        return Begun(work, lease, inserted.waiting, () if place is None else place.interrupted)
