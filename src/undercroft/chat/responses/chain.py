"""Responses that go on from another one: what was asked and answered before, as far as it may be read now."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import chain as join
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.models import NewItem
from undercroft.chat.history import accepted, go_on
from undercroft.chat.providers.extractive import MODEL_ID as EXTRACTIVE
from undercroft.chat.questions import Question
from undercroft.chat.responses.earlier import Earlier, EarlierResponses
from undercroft.chat.responses.errors import (
    PreviousGoesOnError,
    PreviousNotForModelsError,
    PreviousNotFoundError,
    SourceErasedError,
)
from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.reading import open_kept
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.transcript import is_replayed
from undercroft.chat.uses.errors import MOST_INHERITED
from undercroft.chat.uses.service import InheritedUses
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import ModelUse, Release
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.service import KeyRing

MOST_RESPONSES: Final = 100
"""How far back a chain is looked at."""


class ResponseChain:
    """Goes on from kept responses, in the transactions of those that do.

    Args:
        database: Where they are.
        keys: Open them.
        ledger: Where it is put on record.
        answers: Knows what a model takes, and may be given.
    """

    def __init__(
        self, database: Database, keys: KeyRing, ledger: Ledger, answers: Answerer
    ) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._answers = answers
        self._uses = InheritedUses(ledger)
        self._earlier = EarlierResponses(keys)
        self._repository = ResponseRepository()

    async def check(self, scope: Scope, previous_id: UUID) -> None:
        """Find out, before anything is promised, that the principal may go on from a response; put on record.

        Raises:
            PreviousNotFoundError: When they may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
            PreviousGoesOnError: When it is still being made.
        """
        async with self._refusing(scope, previous_id) as transaction:
            row = await self._repository.find_response(transaction, previous_id)
            if row is None:
                raise PreviousNotFoundError(previous_id)
            if row["key_id"] is None:
                raise SourceErasedError
            subject = Subject(render_id(RESPONSE_PREFIX, previous_id), row["salt"])
            act = Act("response.read", subject, row["owner_id"])
            way = choose_way(read_ways(row["ways"]))
            await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
            is_being_made = row["status"] in {"queued", "in_progress"}
        if is_being_made:
            raise PreviousGoesOnError

    async def hold(self, transaction: Transaction, previous_id: UUID) -> None:
        """Keep a response from being deleted before the one that goes on from it is there.

        Raises:
            PreviousNotFoundError: When it was deleted.
        """
        await self._hold(transaction, [previous_id], previous_id)

    async def begin(
        self,
        transaction: Transaction,
        previous_id: UUID,
        response_id: UUID,
        items: Sequence[NewItem],
    ) -> None:
        """Record what a response rests on that says what a function returned: it may repeat what that was asked.

        Raises:
            TooManySourcesError: When that is more than an answer may rest on.
        """
        if any(item.kind == "function_call_output" for item in items):
            # The call may be of any of them; which of them it goes on from is found out when it is asked.
            chain = await self._repository.list_chain_ids(transaction, previous_id, MOST_RESPONSES)
            await self._repository.hold_sources(transaction, chain)
            await self._inherit(transaction, chain, response_id)

    async def load(
        self,
        transaction: Transaction,
        scope: Scope,
        previous_id: UUID,
        response_id: UUID | None,
        question: Question,
        asked: Sequence[WireObject],
    ) -> tuple[Question, Sequence[Release]]:
        """A question after the chain before it, as far as its model may be given it now, and what that rests on.

        That the response is made from what the chain was made from is recorded in the transaction, before whose commit
        no model is asked, and so is, in the ledger, that those documents are used, and the responses of others read.
        Decided anew by whoever takes the response over.

        Args:
            transaction: Where it is decided.
            scope: Who asks.
            previous_id: The last response of the chain.
            response_id: The one that goes on from it; None when it is not kept.
            question: What is asked.
            asked: The same, as items.

        Raises:
            PreviousNotFoundError: When it was deleted meanwhile, or the principal may not read it any more.
            SourceErasedError: When one of its sources was erased, and the response with it.
            PreviousNotForModelsError: When it was shared with them for no such model.
            TooManySourcesError: When the chain was made from more than an answer may rest on.
        """
        if question.model == EXTRACTIVE:
            # It repeats passages and is shown no turns.
            return question, ()
        use = await self._answers.model_use(question)
        rows = await self._repository.list_chain(transaction, previous_id, MOST_RESPONSES)
        _require_first(rows, previous_id, use)
        judged = [await self._earlier.judge(transaction, row, use) for row in rows]
        chain = [each for each in reversed(judged) if each is not None]
        # Responses can be long: not on the event loop.
        opened, is_untraced = await asyncio.to_thread(_open_all, chain)
        places = [each for each, items in zip(chain, opened, strict=True) for _ in items]
        gone_on = await go_on(self._answers, question, list(join.from_iterable(opened)), asked)
        used = list({places[place].id: places[place] for place in gone_on.used}.values())
        used_ids = [each.id for each in used]
        await self._hold(transaction, used_ids, previous_id)
        if response_id is not None:
            await self._inherit(transaction, used_ids, response_id)
        await self._uses.record(
            transaction, scope, join.from_iterable(each.releases for each in used)
        )
        await self._ledger.append(
            transaction, scope, *join.from_iterable(each.acts(scope) for each in used)
        )
        may_leave = all(each.may_leave for each in used)
        after = replace(
            gone_on.question,
            is_confined=question.is_confined or not may_leave,
            is_untraced=question.is_untraced or is_untraced,
        )
        rests_on = [release for each in used for release in (*each.releases, *each.granted())]
        return after, rests_on

    async def _hold(
        self, transaction: Transaction, response_ids: Sequence[UUID], previous_id: UUID
    ) -> None:
        """Keep responses, and what they were made from, from being deleted until the transaction ends.

        A deletion takes away what a response was made from: whoever had read it by then would rest on nothing.
        """
        # Documents first: whoever erases one has that, and then waits for what was made from it.
        await self._repository.hold_sources(transaction, response_ids)
        held = await self._repository.hold_responses(transaction, response_ids)
        if len(held) < len(set(response_ids)):
            raise PreviousNotFoundError(previous_id)
        if any(row["is_erased"] for row in held):
            raise SourceErasedError

    async def _inherit(
        self, transaction: Transaction, from_ids: Sequence[UUID], response_id: UUID
    ) -> None:
        sources = await self._repository.list_sources(transaction, from_ids, MOST_INHERITED + 1)
        await self._uses.inherit(transaction, response_id, sources)

    def _refusing(
        self, scope: Scope, previous_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        find = find_target(RESPONSE_PREFIX, previous_id, self._repository.find_response_owner)
        return recording_refusal(self._database, self._ledger, scope, "response.read", find)


def _require_first(rows: Sequence[Record], previous_id: UUID, use: frozenset[ModelUse]) -> None:
    """The last response of a chain has to be there; of those before it what cannot be read is left out."""
    if not rows or rows[0]["id"] != previous_id:
        raise PreviousNotFoundError(previous_id)
    if rows[0]["key_id"] is None:
        raise SourceErasedError
    if not any(accepted(use, way) for way in read_ways(rows[0]["ways"])):
        raise PreviousNotForModelsError


def _open_all(chain: Sequence[Earlier]) -> tuple[list[list[WireObject]], bool]:
    """The items of each: what it was asked with, and what was answered. And whether a client replayed some of it.

    That counts though it is not shown itself: what was answered to it may say it again.
    """
    opened: list[list[WireObject]] = []
    is_untraced = False
    for each in chain:
        row = each.row
        resource, asked = open_kept(each.key, row["tenant_id"], row["id"], row["sealed_resource"])
        opened.append([*asked, *resource["output"]])
        is_untraced = is_untraced or any(map(is_replayed, asked))
    return opened, is_untraced
