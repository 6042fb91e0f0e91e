"""The statements of an index outside, one method each."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.retrieval.halfvec import render_vector
from undercroft.retrieval.vectors.models import Space
from undercroft.retrieval.vectors.protocol import Question

_QUERIES: Final = load_queries("undercroft.retrieval.vectors")


class VectorRepository:
    """What is to be outside, and which of what is proposed there may be searched."""

    async def find_space(self, transaction: Transaction, question: Question) -> Space | None:
        """Where the question is looked up outside; None where nothing is, or not everything yet."""
        row = await _QUERIES.maybe(
            transaction, "find_space", question.model_name, len(question.vector)
        )
        return None if row is None else Space(row["index_id"], row["model_id"])

    async def compare_vectors(
        self,
        transaction: Transaction,
        question: Question,
        *,
        document_limit: int | None,
        vector_limit: int | None,
        limit: int,
    ) -> dict[int, float] | None:
        """The nearest of all that the caller may search; None where that is more than the limits."""
        query = question.query
        rows = await _QUERIES.many(
            transaction,
            "compare_vectors",
            query.collection_ids,
            query.document_ids,
            query.is_everywhere,
            query.path,
            question.model_name,
            render_vector(question.vector),
            document_limit,
            vector_limit,
            limit,
        )
        if rows and rows[0]["chunk_id"] is None:
            return None
        return _nearest(rows)

    async def admit_vectors(
        self, transaction: Transaction, question: Question, proposed: Sequence[int], limit: int
    ) -> dict[int, float]:
        """Those of the proposed that the caller may search, at most ``limit``."""
        query = question.query
        rows = await _QUERIES.many(
            transaction,
            "admit_vectors",
            query.collection_ids,
            query.document_ids,
            query.is_everywhere,
            query.path,
            question.model_name,
            render_vector(question.vector),
            proposed,
            limit,
        )
        return _nearest(rows)

    async def list_spaces(self, transaction: Transaction) -> list[Record]:
        """Where every model's vectors are to be, with their dimensions and whether they all are."""
        return await _QUERIES.many(transaction, "list_spaces")

    async def set_complete(
        self, transaction: Transaction, index_id: UUID, *, is_complete: bool
    ) -> None:
        """Whether searches may ask it."""
        await _QUERIES.execute(transaction, "set_complete", index_id, is_complete)

    async def lease_pending(
        self, transaction: Transaction, limit: int, lease: timedelta
    ) -> list[Record]:
        """What changed longest ago, of all tenants; others take something else for so long."""
        return await _QUERIES.many(transaction, "lease_pending_vectors", limit, lease)

    async def list_embeddings(
        self, transaction: Transaction, chunk_ids: Sequence[int]
    ) -> list[Record]:
        """The vectors of those of the tenant's chunks that are there."""
        return await _QUERIES.many(transaction, "list_embeddings", chunk_ids)

    async def delete_pending(self, transaction: Transaction, pending_id: int) -> None:
        """It is outside as it is here."""
        await _QUERIES.execute(transaction, "delete_pending_vectors", pending_id)

    async def list_vectors(
        self, transaction: Transaction, model_id: int, after: int, limit: int
    ) -> list[Record]:
        """All tenants' chunks that a model has embedded, by id, with their tenants."""
        return await _QUERIES.many(transaction, "list_vectors", model_id, after, limit)

    async def find_vectors(
        self, transaction: Transaction, model_id: int, chunk_ids: Sequence[int]
    ) -> set[int]:
        """Those of the chunks, of whatever tenant, that a model has embedded."""
        rows = await _QUERIES.many(transaction, "find_vectors", model_id, chunk_ids)
        return {row["chunk_id"] for row in rows}


def _nearest(rows: Sequence[Record]) -> dict[int, float]:
    nearest = sorted(rows, key=lambda row: (-row["score"], row["chunk_id"]))
    return {row["chunk_id"]: row["score"] for row in nearest}
