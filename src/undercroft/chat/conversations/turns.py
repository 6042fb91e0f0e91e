"""A response in a conversation: answers after its earlier turns, and adds what was asked and answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.answering import Answerer, Question
from undercroft.chat.conversations.access import ConversationAccess, no_conversation
from undercroft.chat.conversations.appending import ItemAppender
from undercroft.chat.conversations.branches.service import Branches
from undercroft.chat.conversations.errors import NotForModelsError, TurnsChangedError
from undercroft.chat.conversations.models import (
    CONVERSATION_PREFIX,
    Conversation,
    ItemPage,
    NewItem,
    Parent,
    Source,
    WireItem,
    parse_item_id,
)
from undercroft.chat.conversations.reading import ItemReader
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.history import accepted, go_on
from undercroft.chat.providers.extractive import MODEL_ID as EXTRACTIVE
from undercroft.chat.transcript import is_replayed
from undercroft.chat.uses.errors import MOST_INHERITED
from undercroft.chat.uses.service import InheritedUses
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import IdSource, render_id
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import GrantAction, ModelUse, Release, Way
from undercroft.sharing.policy import (
    allowed_model_use,
    choose_way,
    read_ways,
    ways_for_models,
)
from undercroft.sharing.ways import acts_under, read_access
from undercroft.vault.keys.service import KeyRing

_MOST_TURNS: Final = 200
"""The most items of a conversation that are looked at for a prompt: the last ones."""
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
    """

    def __init__(
        self, database: Database, keys: KeyRing, ledger: Ledger, answers: Answerer, ids: IdSource
    ) -> None:
        self._answers = answers
        self._ledger = ledger
        self._uses = InheritedUses(ledger)
        self._access = ConversationAccess(database, keys, ledger)
        self._appender = ItemAppender(keys, ids)
        self._reader = ItemReader(keys)
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
    ) -> tuple[Question, Sequence[Release]]:
        """A question after the turns before it, as far as its model may be given them now, and what those rest on.

        It rests on the conversation too, where that is another's. That the response is made from what the turns were
        made from is recorded in the transaction, before whose commit no model is asked, and so is, in the ledger, that
        those documents are used, and another's conversation read. Decided anew by whoever takes the response over.

        Raises:
            NotFoundError: When the principal may not read the conversation any more.
            NotGrantedError: When they may not add to it any more.
            NotForModelsError: When it was shared with them for no such model.
            TurnsChangedError: When some of the turns were erased or deleted meanwhile.
            TooManySourcesError: When they were made from more than an answer may rest on.
            InvalidRequestError: When a result is of no call that may be read, or what has to fit does not.
        """
        written = await self._access.find(transaction, conversation_id, _WRITE)
        adding = read_access(written["action"], written["ways"]).way
        if question.model == EXTRACTIVE:
            # It repeats passages and is shown no turns.
            row = await self._access.find(transaction, conversation_id, _READ)
            return question, _granted(read_access(row["action"], row["ways"]).way, adding)
        use = await self._answers.model_use(question)
        await self._repository.hold_conversation(transaction, conversation_id)
        rows = await self._repository.list_items(
            transaction, conversation_id, ItemPage(_MOST_TURNS), before_response=response_id
        )
        if not rows:
            raise no_conversation(conversation_id)
        ways = [way for way in read_ways(rows[0]["ways"]) if accepted(use, way)]
        if not ways:
            raise NotForModelsError
        leaving = ways_for_models(ways, frozenset({ModelUse.EXTERNAL}))
        reading = choose_way(leaving or ways)
        read = await self._reader.read(transaction, rows, lambda way: accepted(use, way))
        items = [item for item in reversed(read) if item.is_readable]
        gone_on = await go_on(self._answers, question, [item.wire for item in items], asked)
        turns = [items[place] for place in gone_on.used]
        numbers = [item.number for item in turns]
        whole = await self._repository.hold_sources(transaction, conversation_id, numbers)
        if whole < len(numbers):
            # What they were made from went with them: whoever is shown them would rest on nothing.
            raise TurnsChangedError
        sources = await self._repository.list_item_sources(
            transaction, conversation_id, numbers, MOST_INHERITED + 1
        )
        places = [(each.document_id, each.version, each.start, each.end) for each in sources]
        await self._uses.inherit(transaction, response_id, places)
        releases = [release for item in turns for release in item.releases]
        await self._uses.record(transaction, scope, releases)
        if turns and reading.grants:
            subject = Subject(render_id(CONVERSATION_PREFIX, conversation_id), rows[0]["salt"])
            act = Act("conversation.read", subject, rows[0]["owner_id"])
            await self._ledger.append(transaction, scope, *acts_under(scope, reading, act))
        is_confined = question.is_confined or not (leaving and _may_leave(releases))
        is_untraced = question.is_untraced
        if question.servers and not is_untraced:
            # Whether it is shown itself or not: what was answered to it may say it again.
            told = await self._repository.list_told(transaction, conversation_id)
            is_untraced = any(is_replayed(item.wire) for item in items if item.number in told)
        after = replace(gone_on.question, is_confined=is_confined, is_untraced=is_untraced)
        return after, [*releases, *_granted(reading, adding)]

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


def _may_leave(releases: Sequence[Release]) -> bool:
    """Whether all that turns were made from may be sent elsewhere."""
    return all(ModelUse.EXTERNAL in allowed_model_use(release.way) for release in releases)


def _granted(*ways: Way) -> list[Release]:
    """What rests on grants of the conversation itself; nothing of it where it is one's own."""
    return [Release(None, way) for way in ways if way.grants]
