"""The responses' statements, one method each."""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.models import ResponseEnd
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.metering.models import Ending
from undercroft.retrieval.search.models import FoundPassage

_QUERIES: Final = load_queries("undercroft.chat.responses")


class ResponseRepository:
    """Reads and writes responses and the passages they were made from."""

    async def insert_response(
        self,
        transaction: Transaction,
        response_id: UUID,
        status: str,
        data_key_id: UUID,
        sealed: bytes,
        answer_entry_id: UUID | None = None,
        previous_id: UUID | None = None,
        *,
        is_short_lived: bool = False,
    ) -> None:
        """Keep a response that is being made, or waits to be; with the entry that commits to what from, where known.

        Args:
            transaction: What it is part of.
            response_id: The response.
            status: Which of the two.
            data_key_id: Its key.
            sealed: What it is so far.
            answer_entry_id: The entry.
            previous_id: The response that it goes on from, if it does.
            is_short_lived: Whether it is kept for a day alone.
        """
        await _QUERIES.execute(
            transaction,
            "insert_response",
            response_id,
            status,
            data_key_id,
            sealed,
            answer_entry_id,
            previous_id,
            is_short_lived,
        )

    async def start_response(
        self, transaction: Transaction, response_id: UUID, sealed: bytes
    ) -> None:
        """Keep that a response which has waited is being made."""
        await _QUERIES.execute(transaction, "start_response", response_id, sealed)

    async def hold_responses(
        self, transaction: Transaction, response_ids: Sequence[UUID]
    ) -> list[Record]:
        """Keep responses from being deleted until the transaction ends; those that there are, erased or not."""
        return await _QUERIES.many(transaction, "hold_responses", list(response_ids))

    async def list_chain_ids(
        self, transaction: Transaction, response_id: UUID, most: int
    ) -> list[UUID]:
        """A response and those before it, as far back as that."""
        rows = await _QUERIES.many(transaction, "list_chain_ids", response_id, most)
        return [row["id"] for row in rows]

    async def hold_sources(self, transaction: Transaction, response_ids: Sequence[UUID]) -> None:
        """Keep what responses were made from, as far as it is there, until the transaction ends."""
        await _QUERIES.execute(transaction, "hold_sources", list(response_ids))

    async def hold_sources_with_conversation(
        self, transaction: Transaction, response_ids: Sequence[UUID], conversation_id: UUID
    ) -> None:
        """Keep what responses and the items of a conversation were made from, until the transaction ends."""
        await _QUERIES.execute(
            transaction, "hold_sources_with_conversation", list(response_ids), conversation_id
        )

    async def list_sources(
        self, transaction: Transaction, response_ids: Sequence[UUID], most: int
    ) -> list[tuple[UUID, int, int, int]]:
        """What responses were made from, so many at most: document, version, and from where to where."""
        rows = await _QUERIES.many(transaction, "list_sources", list(response_ids), most)
        return [tuple(row) for row in rows]

    async def list_chain(
        self, transaction: Transaction, response_id: UUID, most: int
    ) -> list[Record]:
        """A response and those before it, the last one first, as far as the principal may read them."""
        return await _QUERIES.many(transaction, "list_chain", response_id, most)

    async def list_carrying(
        self, transaction: Transaction, response_ids: Sequence[UUID]
    ) -> list[Record]:
        """Responses whose keys open what a client carries, as far as the principal may read them."""
        return await _QUERIES.many(transaction, "list_carrying", list(response_ids))

    async def insert_passages(
        self,
        transaction: Transaction,
        response_id: UUID,
        passages: Sequence[FoundPassage],
        sealed_statements: Sequence[bytes],
    ) -> None:
        """Record what a response is made from, if it is still there; passages are numbered from 1 in their order."""
        documents = [passage.document_id for passage in passages]
        await _QUERIES.execute(transaction, "hold_documents", documents)
        await _QUERIES.execute(
            transaction,
            "insert_response_passages",
            response_id,
            list(range(1, len(passages) + 1)),
            documents,
            [passage.document_version for passage in passages],
            # Where its chunk begins, by which a later reading finds in which section it stands.
            [passage.start - passage.hidden for passage in passages],
            [passage.end for passage in passages],
            [passage.score for passage in passages],
            [_array(grant.id for grant in passage.way.grants) for passage in passages],
            [_array(passage.entry_ids) for passage in passages],
            sealed_statements,
        )

    async def list_passage_places(
        self, transaction: Transaction, response_id: UUID, *, inherited: bool
    ) -> list[tuple[UUID, int, int, int]]:
        """What a response is made from, in order: document, version, and from where to where.

        Args:
            transaction: Where it is read.
            response_id: The response.
            inherited: Through the turns before it, and not found by itself.
        """
        rows = await _QUERIES.many(transaction, "list_passage_places", response_id, inherited)
        return [tuple(row) for row in rows]

    async def delete_passages(self, transaction: Transaction, response_id: UUID) -> None:
        """Forget what a response was to be made from: it is made anew."""
        await _QUERIES.execute(transaction, "delete_response_passages", response_id)

    async def set_answer_entry(
        self, transaction: Transaction, response_id: UUID, entry_id: UUID
    ) -> None:
        """Record which entry of the ledger commits to what a response is made from, if it is still there."""
        await _QUERIES.execute(transaction, "set_answer_entry", response_id, entry_id)

    async def list_provenance(self, transaction: Transaction, response_id: UUID) -> list[Record]:
        """What a response was made from, in order, with the principal's ways to it."""
        return await _QUERIES.many(transaction, "list_provenance", response_id)

    async def end_response(self, transaction: Transaction, end: ResponseEnd) -> Ending | None:
        """Keep the end of a response that has not ended; None where its stream is another's to end, or gone."""
        return _ending(await _QUERIES.value(transaction, "end_response", *end.columns()))

    async def end_response_alone(
        self, connection: AnyConnection, scope: Scope, end: ResponseEnd
    ) -> Ending | None:
        """As :meth:`end_response`, in a transaction of its own."""
        return _ending(
            await _QUERIES.value(
                connection,
                "end_response_alone",
                scope.tenant_id,
                scope.principal_id,
                *end.columns(),
            )
        )

    async def find_response(self, transaction: Transaction, response_id: UUID) -> Record | None:
        """A response that the principal may read, with its key and the ways to what it was made from."""
        return await _QUERIES.maybe(transaction, "find_response", response_id)

    async def list_passage_texts(self, transaction: Transaction, response_id: UUID) -> list[Record]:
        """The passages of others that a response was made from, as far as they are still indexed."""
        return await _QUERIES.many(transaction, "list_passage_texts", response_id)

    async def find_response_owner(
        self, transaction: Transaction, response_id: UUID
    ) -> Record | None:
        """The owner and the salt of a response, whoever's of the tenant it is; None without its key."""
        return await _QUERIES.maybe(transaction, "find_response_owner", response_id)

    async def may_still_ask(self, transaction: Transaction, user_ids: Sequence[UUID]) -> bool:
        """Whether none of these users was suspended or removed."""
        return bool(await _QUERIES.value(transaction, "may_still_ask", user_ids))

    async def owes_factor(self, transaction: Transaction, user_ids: Sequence[UUID]) -> bool:
        """Whether the tenant asks one of these users for a second factor that they do not have."""
        return bool(await _QUERIES.value(transaction, "owes_factor", user_ids))

    async def list_expired(self, connection: AnyConnection, limit: int) -> list[tuple[UUID, UUID]]:
        """Responses of every tenant whose time is over: tenant and id."""
        rows = await _QUERIES.many(connection, "list_expired_responses", limit)
        return [(row["tenant_id"], row["response_id"]) for row in rows]

    async def delete_expired(self, transaction: Transaction, response_ids: Sequence[UUID]) -> int:
        """Delete those of a tenant's responses whose time is over; how many."""
        return await _QUERIES.execute(transaction, "delete_expired_responses", list(response_ids))

    async def list_summaries(
        self, transaction: Transaction, conversation_id: UUID, numbers: Sequence[int]
    ) -> list[Record]:
        """The principal's summaries of a conversation up to one of these items, the latest first."""
        return await _QUERIES.many(
            transaction, "list_summaries", conversation_id, sorted(set(numbers))
        )

    async def is_summed_up(
        self, transaction: Transaction, conversation_id: UUID, through: int
    ) -> bool:
        """Whether the principal has a summary up to that item, or one is being made."""
        return bool(await _QUERIES.value(transaction, "is_summed_up", conversation_id, through))

    async def insert_summary(
        self, transaction: Transaction, response_id: UUID, conversation_id: UUID, through: int
    ) -> None:
        """Record what a response sums up."""
        await _QUERIES.execute(transaction, "insert_summary", response_id, conversation_id, through)

    async def trace_summary(
        self, transaction: Transaction, response_id: UUID, *, is_untraced: bool
    ) -> None:
        """Record whether somebody has added to what it sums up."""
        await _QUERIES.execute(transaction, "trace_summary", response_id, is_untraced)

    async def delete_old_summaries(self, transaction: Transaction, conversation_id: UUID) -> None:
        """Delete the principal's summaries of a conversation but for the last few."""
        await _QUERIES.execute(transaction, "delete_old_summaries", conversation_id)

    async def delete_response(self, transaction: Transaction, response_id: UUID) -> bool:
        """Delete a response; False when there is none."""
        return await _QUERIES.value(transaction, "delete_response", response_id) is not None


def _ending(answer: str | None) -> Ending | None:
    return None if answer is None else Ending(answer)


def _array(ids: Iterable[UUID]) -> str:
    """An array of ids as PostgreSQL writes it."""
    return "{" + ",".join(map(str, ids)) + "}"
