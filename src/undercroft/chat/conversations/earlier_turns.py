"""What was said in a conversation before a question, as far as its model may be told it now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

from asyncpg import Record

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.access import ConversationAccess, no_conversation
from undercroft.chat.conversations.errors import NotForModelsError, TurnsChangedError
from undercroft.chat.conversations.models import (
    CONVERSATION_PREFIX,
    ItemPage,
    Source,
    Summary,
    SumUp,
    WireItem,
    parse_item_id,
)
from undercroft.chat.conversations.reading import ItemReader, ReadItem
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.history import Continued, Standing, accepted, go_on
from undercroft.chat.providers.extractive import MODEL_ID as EXTRACTIVE
from undercroft.chat.questions import Question
from undercroft.chat.transcript import is_replayed
from undercroft.chat.uses.errors import MOST_INHERITED
from undercroft.chat.uses.service import InheritedUses
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
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


class Summaries(Protocol):
    """Knows what was summed up of conversations."""

    async def find(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        numbers: Sequence[int],
        use: frozenset[ModelUse],
    ) -> Summary | None:
        """The principal's latest summary up to one of these items, if a model that uses it so may be told it."""
        ...

    async def hold(self, transaction: Transaction, summary: Summary) -> bool:
        """Keep a summary, if it is there and not erased, until the transaction ends; whether it is."""
        ...

    async def trace(
        self, transaction: Transaction, response_id: UUID, *, is_untraced: bool
    ) -> None:
        """Record whether a summary says something of which nobody here knows what that was made from."""
        ...


@dataclass(frozen=True, slots=True)
class WantedTurns:
    """Which turns are wanted.

    Attributes:
        response_id: Of which response: those before its question.
        sum_up: The beginning of a branch instead, for a response that sums it up.
    """

    conversation_id: UUID
    response_id: UUID
    sum_up: SumUp | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A question after the turns before it.

    Attributes:
        rests_on: What those were made from, and what they stand in.
        due: What of the conversation is to be summed up by now.
    """

    question: Question
    rests_on: Sequence[Release] = ()
    due: SumUp | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """The turns that a model is told, and what stands for those before them."""

    gone_on: Continued
    turns: Sequence[ReadItem]
    summary: Summary | None
    sources: Sequence[Source]

    @property
    def releases(self) -> list[Release]:
        """What they were made from."""
        summed_up = self.summary.releases if self.summary else ()
        return [*summed_up, *(release for item in self.turns for release in item.releases)]


class EarlierTurns:
    """Reads them, in the transactions of the responses that go on from them.

    Args:
        access: Knows who comes to conversations.
        keys: Open items.
        ledger: Where it is put on record.
        answers: Knows what a model takes, and may be given.
        summaries: Stand for what does not fit.
    """

    def __init__(
        self,
        access: ConversationAccess,
        keys: KeyRing,
        ledger: Ledger,
        answers: Answerer,
        summaries: Summaries,
    ) -> None:
        self._access = access
        self._answers = answers
        self._ledger = ledger
        self._uses = InheritedUses(ledger)
        self._summaries = summaries
        self._reader = ItemReader(keys)
        self._repository = ConversationRepository()

    async def load(
        self,
        transaction: Transaction,
        scope: Scope,
        wanted: WantedTurns,
        question: Question,
        asked: Sequence[WireItem],
    ) -> Loaded:
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
        conversation_id = wanted.conversation_id
        written = await self._access.find(transaction, conversation_id, _WRITE)
        adding = read_access(written["action"], written["ways"]).way
        if question.model == EXTRACTIVE:
            # It repeats passages and is shown no turns.
            row = await self._access.find(transaction, conversation_id, _READ)
            return Loaded(question, _granted(read_access(row["action"], row["ways"]).way, adding))
        use = await self._answers.model_use(question)
        await self._repository.hold_conversation(transaction, conversation_id)
        rows = await self._list(transaction, wanted)
        if not rows:
            raise no_conversation(conversation_id)
        ways = [way for way in read_ways(rows[0]["ways"]) if accepted(use, way)]
        if not ways:
            raise NotForModelsError
        leaving = ways_for_models(ways, frozenset({ModelUse.EXTERNAL}))
        reading = choose_way(leaving or ways)
        read = await self._reader.read(transaction, rows, lambda way: accepted(use, way))
        items = [item for item in reversed(read) if item.is_readable]
        numbers = [item.number for item in read]
        summary = await self._summaries.find(transaction, conversation_id, numbers, use)
        told = await self._tell(transaction, wanted, question, asked, items, summary)
        await self._hold(transaction, wanted, told)
        releases = told.releases
        await self._uses.record(transaction, scope, releases)
        if (told.turns or told.summary) and reading.grants:
            subject = Subject(render_id(CONVERSATION_PREFIX, conversation_id), rows[0]["salt"])
            act = Act("conversation.read", subject, rows[0]["owner_id"])
            await self._ledger.append(transaction, scope, *acts_under(scope, reading, act))
        is_confined = question.is_confined or not (leaving and _may_leave(releases))
        is_untraced = await self._is_untraced(transaction, wanted, question, items, told.summary)
        after = replace(told.gone_on.question, is_confined=is_confined, is_untraced=is_untraced)
        due = _due(conversation_id, items, told.gone_on.due)
        return Loaded(after, [*releases, *_granted(reading, adding)], due)

    async def _list(self, transaction: Transaction, wanted: WantedTurns) -> list[Record]:
        if wanted.sum_up is None:
            return await self._repository.list_items(
                transaction,
                wanted.conversation_id,
                ItemPage(_MOST_TURNS),
                before_response=wanted.response_id,
            )
        following = wanted.sum_up.following
        page = ItemPage(_MOST_TURNS, after=following, branch=following)
        return await self._repository.list_items(transaction, wanted.conversation_id, page)

    async def _tell(
        self,
        transaction: Transaction,
        wanted: WantedTurns,
        question: Question,
        asked: Sequence[WireItem],
        items: Sequence[ReadItem],
        summary: Summary | None,
    ) -> _Told:
        """What a model is told: with what stands for the first turns, unless it would rest on too much through that."""
        standing = None
        if summary is not None:
            covered = sum(item.number <= summary.through for item in items)
            standing = Standing(summary.text, covered, is_preferred=wanted.sum_up is not None)
        wire = [item.wire for item in items]
        gone_on = await go_on(self._answers, question, wire, asked, standing)
        turns = [items[place] for place in gone_on.used]
        sources = await self._repository.list_item_sources(
            transaction,
            wanted.conversation_id,
            [item.number for item in turns],
            MOST_INHERITED + 1,
        )
        if summary is None or not gone_on.is_summed_up:
            return _Told(gone_on, turns, None, sources)
        both = list(dict.fromkeys((*summary.sources, *sources)))
        if len(both) > MOST_INHERITED:
            return await self._tell(transaction, wanted, question, asked, items, None)
        return _Told(gone_on, turns, summary, both)

    async def _hold(self, transaction: Transaction, wanted: WantedTurns, told: _Told) -> None:
        """Keep what is told, and what it was made from, until it is recorded that the response rests on that."""
        numbers = [item.number for item in told.turns]
        summary_id = told.summary.response_id if told.summary else None
        whole = await self._repository.hold_sources(
            transaction, wanted.conversation_id, numbers, summary_id
        )
        if whole < len(numbers):
            # What they were made from went with them: whoever is shown them would rest on nothing.
            raise TurnsChangedError
        if told.summary is not None and not await self._summaries.hold(transaction, told.summary):
            raise TurnsChangedError
        places = [(each.document_id, each.version, each.start, each.end) for each in told.sources]
        await self._uses.inherit(transaction, wanted.response_id, places)

    async def _is_untraced(
        self,
        transaction: Transaction,
        wanted: WantedTurns,
        question: Question,
        items: Sequence[ReadItem],
        summary: Summary | None,
    ) -> bool:
        """Whether a client has added something that may repeat documents.

        Whether it is shown itself or not: what was answered to it may say it again.
        """
        is_untraced = question.is_untraced or bool(summary and summary.is_untraced)
        if not is_untraced and (question.servers or wanted.sum_up):
            told = await self._repository.list_told(transaction, wanted.conversation_id)
            is_untraced = any(is_replayed(item.wire) for item in items if item.number in told)
        if wanted.sum_up is not None:
            await self._summaries.trace(transaction, wanted.response_id, is_untraced=is_untraced)
        return is_untraced


def _due(conversation_id: UUID, items: Sequence[ReadItem], place: int | None) -> SumUp | None:
    """What is to be summed up, where the items from that place on are left as they are."""
    if place is None:
        return None
    following = parse_item_id(items[place].wire["id"])
    if following is None:
        return None
    return SumUp(conversation_id, items[place - 1].number, following)


def _may_leave(releases: Sequence[Release]) -> bool:
    """Whether all that turns were made from may be sent elsewhere."""
    return all(ModelUse.EXTERNAL in allowed_model_use(release.way) for release in releases)


def _granted(*ways: Way) -> list[Release]:
    """What rests on grants of the conversation itself; nothing of it where it is one's own."""
    return [Release(None, way) for way in ways if way.grants]
