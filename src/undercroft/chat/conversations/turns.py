"""A response in a conversation: answers after its earlier turns, and adds what was asked and answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.access import ConversationAccess
from undercroft.chat.conversations.appending import ItemAppender
from undercroft.chat.conversations.branches.service import Branches
from undercroft.chat.conversations.earlier_turns import (
    EarlierTurns,
    Loaded,
    Summaries,
    WantedTurns,
)
from undercroft.chat.conversations.models import (
    Conversation,
    NewItem,
    Parent,
    Source,
    SumUp,
    WireItem,
    parse_item_id,
)
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.questions import Question
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import GrantAction
from undercroft.vault.keys.service import KeyRing

_READ: Final = (GrantAction.READ,)
_WRITE: Final = (GrantAction.WRITE,)
_NO_PLACE: Final = {
    ErrorKind.CONFLICT,
    ErrorKind.FORBIDDEN,
    ErrorKind.NOT_FOUND,
    ErrorKind.TOO_LARGE,
}
"""Why an answer has no place in its conversation; nothing of it was written then."""


@dataclass(frozen=True, slots=True)
class HeldConversation:
    """A conversation that a transaction has locked, and how the principal comes to it."""

    row: Record = field(repr=False)
    conversation: Conversation


class ConversationTurns:
    """Brings responses and conversations together, in the responses' transactions.

    Args:
        database: Where they are.
        keys: Seal and open items.
        ledger: Where it is put on record.
        answers: Knows what a model takes, and may be given.
        ids: Names items.
        summaries: Stand for turns that do not fit.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        answers: Answerer,
        ids: IdSource,
        summaries: Summaries,
    ) -> None:
        self._access = ConversationAccess(database, keys, ledger)
        self._appender = ItemAppender(keys, ids)
        self._earlier = EarlierTurns(self._access, keys, ledger, answers, summaries)
        self._branches = Branches()
        self._repository = ConversationRepository()

    async def check(self, scope: Scope, conversation_id: UUID) -> None:
        """Find out, before anything is promised, that the principal may read a conversation and add to it.

        Raises:
            NotFoundError: When they may see no such conversation.
            NotGrantedError: When they may, and not both.
        """
        action = "conversation.add_items"
        async with self._access.refusing(scope, action, conversation_id) as transaction:
            for wanted in (_READ, _WRITE):
                await self._access.find(transaction, conversation_id, wanted)

    async def hold(self, transaction: Transaction, conversation_id: UUID) -> HeldConversation:
        """A conversation that nobody else adds to, or begins a response in, before the transaction ends.

        Raises:
            NotFoundError: When the principal may see no such conversation.
            NotGrantedError: When they may, and not write it.
            GrantEndedError: When the grant ended meanwhile.
        """
        row = await self._access.lock(transaction, conversation_id, _WRITE)
        return HeldConversation(row, await self._access.open(row))

    async def begin(
        self,
        transaction: Transaction,
        scope: Scope,
        held: HeldConversation,
        response_id: UUID,
        items: Sequence[NewItem],
        parent: Parent | None = None,
    ) -> None:
        """Add what is asked, in the transaction in which the response begins.

        Raises:
            InvalidRequestError: When there is a result of no call.
            NotFoundError: When there is no item to go on from.
            ItemTooLargeError: When an item is longer than any may be.
            TooManyItemsError: When there is no room for them.
        """
        branch = await self._branches.find_for(transaction, held.conversation, parent)
        await self._appender.append(
            transaction, scope, held.conversation, items, response_id, branch
        )
        await self._access.record(
            transaction, scope, "conversation.add_items", held.conversation.id, held.row
        )

    async def load(
        self,
        transaction: Transaction,
        scope: Scope,
        conversation_id: UUID,
        response_id: UUID,
        question: Question,
        asked: Sequence[WireItem],
    ) -> Loaded:
        """A question after the turns before it: see :meth:`EarlierTurns.load`."""
        wanted = WantedTurns(conversation_id, response_id)
        return await self._earlier.load(transaction, scope, wanted, question, asked)

    async def load_beginning(
        self,
        transaction: Transaction,
        scope: Scope,
        sum_up: SumUp,
        response_id: UUID,
        question: Question,
        asked: Sequence[WireItem],
    ) -> Loaded:
        """The request to sum up the beginning of a branch, after that: see :meth:`EarlierTurns.load`."""
        wanted = WantedTurns(sum_up.conversation_id, response_id, sum_up)
        return await self._earlier.load(transaction, scope, wanted, question, asked)

    async def end(
        self,
        transaction: Transaction,
        scope: Scope,
        conversation_id: UUID,
        response_id: UUID,
        output: Sequence[WireItem],
    ) -> None:
        """Add what was answered, in the transaction in which the response ends and before that locks it.

        Documents are held by what refers to them before the response is, as whoever erases one goes. Where the
        conversation is gone, full or no more the principal's to write, the response ends without it.
        """
        if not output:
            return
        try:
            held = await self.hold(transaction, conversation_id)
            sources = await self._repository.list_response_sources(transaction, response_id)
            items = [_as_new(item, sources) for item in output]
            # Behind its question, whichever branch is the current one by now.
            branch = await self._branches.find_of_response(
                transaction, conversation_id, response_id
            )
            await self._appender.append(
                transaction, scope, held.conversation, items, response_id, branch
            )
        except UndercroftError as error:
            if error.kind not in _NO_PLACE:
                raise
            return
        await self._access.record(
            transaction, scope, "conversation.add_items", conversation_id, held.row
        )


def _as_new(item: WireItem, sources: Sequence[Source]) -> NewItem:
    body = {key: value for key, value in item.items() if key not in {"type", "id"}}
    return NewItem(item["type"], body, parse_item_id(item["id"]), sources)
