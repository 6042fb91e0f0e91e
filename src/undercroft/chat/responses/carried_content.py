"""What clients carry, handed to the model that made it: as far as what that rests on may still be used."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import chain as join
from typing import Final
from uuid import UUID

import structlog

from undercroft.chat.answering import Answerer
from undercroft.chat.history import summed_up
from undercroft.chat.providers.extractive import MODEL_ID as EXTRACTIVE
from undercroft.chat.providers.protocol import Message, Reasoning, Role
from undercroft.chat.questions import Question
from undercroft.chat.responses.carried import find_response_id, open_carried
from undercroft.chat.responses.compacting import SUMMARY
from undercroft.chat.responses.earlier import Earlier, EarlierResponses
from undercroft.chat.responses.errors import CompactionNotFoundError
from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.own_thoughts import OwnThoughts, own_in
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.uses.errors import MOST_INHERITED
from undercroft.chat.uses.service import InheritedUses
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import Release
from undercroft.vault.keys.service import KeyRing

MOST_CARRYING: Final = 100
"""The most responses that one request carries something of."""

_log = structlog.stdlib.get_logger(__name__)


class CarriedContent:
    """Opens what is carried, in the transactions of the responses that are made with it.

    Args:
        database: Where a principal's own key comes from.
        keys: Open it.
        ledger: Where it is put on record.
        answers: Knows what a model does with what it is given.
    """

    def __init__(
        self, database: Database, keys: KeyRing, ledger: Ledger, answers: Answerer
    ) -> None:
        self._database = database
        self._own = OwnThoughts(keys)
        self._answers = answers
        self._ledger = ledger
        self._uses = InheritedUses(ledger)
        self._earlier = EarlierResponses(keys)
        self._repository = ResponseRepository()

    async def check(self, scope: Scope, question: Question) -> None:
        """Find out, before anything is promised, that thoughts of what was not kept are the principal's and whole.

        Raises:
            ThoughtNotOpenedError: When one is not.
        """
        own = own_in(question.messages)
        if own:
            async with self._database.transaction(scope) as transaction:
                await self._own.require(transaction, scope, own)

    async def hand_over(
        self,
        transaction: Transaction,
        scope: Scope,
        question: Question,
        response_id: UUID | None,
        inherited: Sequence[tuple[UUID, int, int, int]],
        brought: Set[str],
    ) -> tuple[Question, Sequence[Release]]:
        """A question with what its messages carry opened, and what that rests on.

        Of thoughts what cannot be opened, or rests on what may no longer be used, is left out: the model thinks anew.
        So is a compaction of before; one that this request brings is refused: what it asks rests on that. Recorded in
        the transaction as earlier responses are that a model is shown, before whose commit no model is asked.

        Args:
            transaction: Where it is decided.
            scope: Who asks.
            question: What is asked.
            response_id: The response that is made; None when it is not kept.
            inherited: What it rests on already through the turns before it.
            brought: What the request itself brings of compactions.

        Raises:
            CompactionNotFoundError: When one of those cannot be opened, or used for that model.
            InvalidRequestError: When it carries something of more responses than may be.
            TooManySourcesError: When those were made from more than an answer may rest on.
        """
        wanted = carried_ids(question)
        if question.model == EXTRACTIVE:
            # It repeats passages and is shown no turns.
            return _with_opened(question, {}), ()
        own = await self._own.open(transaction, scope, own_in(question.messages))
        if not wanted:
            _require_opened(brought, {})
            return _with_opened(question, own), ()
        if len(wanted) > MOST_CARRYING:
            raise InvalidRequestError(
                f"The input carries something of more than {MOST_CARRYING} responses. Leave the older ones out.",
                param="input",
            )
        use = await self._answers.model_use(question)
        # As where a response goes on from others: documents first, as whoever erases one goes.
        await self._repository.hold_sources(transaction, wanted)
        held = await self._repository.hold_responses(transaction, wanted)
        kept = [row["id"] for row in held if not row["is_erased"]]
        rows = await self._repository.list_carrying(transaction, kept)
        judged = [await self._earlier.judge(transaction, row, use) for row in rows]
        readable = {each.id: each for each in judged if each is not None}
        # They can be long: not on the event loop.
        opened = await asyncio.to_thread(_open_all, question.messages, readable)
        _require_opened(brought, opened)
        used = list(readable.values())
        if response_id is not None:
            ids = [each.id for each in used]
            sources = await self._repository.list_sources(transaction, ids, MOST_INHERITED + 1)
            both = list(dict.fromkeys((*inherited, *sources)))
            await self._uses.inherit(transaction, response_id, both)
        await self._uses.record(
            transaction, scope, join.from_iterable(each.releases for each in used)
        )
        await self._ledger.append(
            transaction, scope, *join.from_iterable(each.acts(scope) for each in used)
        )
        is_confined = question.is_confined or not all(each.may_leave for each in used)
        rests_on = [release for each in used for release in (*each.releases, *each.granted())]
        return replace(_with_opened(question, {**own, **opened}), is_confined=is_confined), rests_on


def is_carrying(question: Question) -> bool:
    """Whether something has to be opened before a model is asked."""
    return any(message.sealed for message in question.messages)


def carried_ids(question: Question) -> list[UUID]:
    """Whose keys open what is carried, each once."""
    found = (find_response_id(each) for message in question.messages for each in message.sealed)
    return sorted({response_id for response_id in found if response_id is not None})


def _open_all(
    messages: Sequence[Message], readable: Mapping[UUID, Earlier]
) -> dict[str, WireObject]:
    opened: dict[str, WireObject] = {}
    for sealed in join.from_iterable(message.sealed for message in messages):
        response_id = find_response_id(sealed)
        earlier = None if response_id is None else readable.get(response_id)
        if earlier is None:
            continue
        tenant_id = earlier.row["tenant_id"]
        try:
            opened[sealed] = open_carried(earlier.key, tenant_id, earlier.id, sealed)
        except DecryptionError:
            # A client has altered it.
            _log.info("carried_content_altered", response_id=str(earlier.id))
    return opened


def compactions_in(question: Question) -> set[str]:
    """What stands for what was said before, in the messages of a request."""
    said = (message for message in question.messages if message.role is Role.USER)
    return {sealed for message in said for sealed in message.sealed}


def _require_opened(brought: Set[str], opened: Mapping[str, WireObject]) -> None:
    if any(SUMMARY not in opened.get(sealed, {}) for sealed in brought):
        raise CompactionNotFoundError


def _with_opened(question: Question, opened: Mapping[str, WireObject]) -> Question:
    if not is_carrying(question):
        return question
    messages = (_opened(message, opened) for message in question.messages)
    return replace(question, messages=tuple(each for each in messages if each is not None))


def _opened(message: Message, opened: Mapping[str, WireObject]) -> Message | None:
    """A message with what it carries; None for a compaction that cannot be opened."""
    if not message.sealed:
        return message
    found = [opened[sealed] for sealed in message.sealed if sealed in opened]
    if message.role is Role.USER:
        said = "\n\n".join(each[SUMMARY] for each in found if SUMMARY in each)
        return replace(message, content=summed_up(said), sealed=()) if said else None
    thoughts = tuple(Reasoning(**thought) for thought in found if SUMMARY not in thought)
    return replace(message, sealed=(), reasoning=thoughts)
