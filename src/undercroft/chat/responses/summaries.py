"""Summaries of conversations: kept responses, each of which stands for the beginning of one.

A summary is its principal's alone, made from what they could read, and judged by what it rests on whenever it is
wanted: where some of that may not be read any more, or not be told to a model, it is as if there were none.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from undercroft.chat.conversations.models import Source, Summary, SumUp
from undercroft.chat.responses.compacting import text_of
from undercroft.chat.responses.earlier import EarlierResponses
from undercroft.chat.responses.errors import AlreadySummedUpError
from undercroft.chat.responses.reading import open_resource
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.uses.errors import MOST_INHERITED
from undercroft.kit.database import Transaction
from undercroft.sharing.models import ModelUse
from undercroft.vault.keys.service import KeyRing


class ConversationSummaries:
    """Finds them, and keeps which response is one of what.

    Args:
        keys: Open them.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._earlier = EarlierResponses(keys)
        self._repository = ResponseRepository()

    async def find(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        numbers: Sequence[int],
        use: frozenset[ModelUse],
    ) -> Summary | None:
        """The principal's latest summary up to one of these items, if a model that uses it so may be told it."""
        for row in await self._repository.list_summaries(transaction, conversation_id, numbers):
            earlier = await self._earlier.judge(transaction, row, use)
            if earlier is None:
                continue
            # It is as long as an answer: not on the event loop.
            resource = await asyncio.to_thread(
                open_resource, earlier.key, row["tenant_id"], row["id"], row["sealed_resource"]
            )
            text = text_of(resource)
            if not text.strip():
                continue
            sources = await self._repository.list_sources(
                transaction, [earlier.id], MOST_INHERITED + 1
            )
            return Summary(
                earlier.id,
                text,
                row["through_number"],
                earlier.releases,
                [Source(*each) for each in sources],
                row["is_untraced"],
            )
        return None

    async def hold(self, transaction: Transaction, summary: Summary) -> bool:
        """Keep a summary, if it is there and not erased, until the transaction ends; whether it is."""
        held = await self._repository.hold_responses(transaction, [summary.response_id])
        return any(not row["is_erased"] for row in held)

    async def trace(
        self, transaction: Transaction, response_id: UUID, *, is_untraced: bool
    ) -> None:
        """Record whether a summary says something of which nobody here knows what that was made from."""
        await self._repository.trace_summary(transaction, response_id, is_untraced=is_untraced)

    async def claim(self, transaction: Transaction, sum_up: SumUp) -> None:
        """Find out that a summary is to be made, in a transaction that has locked its conversation.

        Of two that would make one the second sees that of the first.

        Raises:
            AlreadySummedUpError: When one is there, or being made.
        """
        if await self._repository.is_summed_up(transaction, sum_up.conversation_id, sum_up.through):
            raise AlreadySummedUpError

    async def keep(self, transaction: Transaction, response_id: UUID, sum_up: SumUp) -> None:
        """Record what a response sums up; of the principal's summaries of the conversation the oldest go."""
        await self._repository.insert_summary(
            transaction, response_id, sum_up.conversation_id, sum_up.through
        )
        await self._repository.delete_old_summaries(transaction, sum_up.conversation_id)
