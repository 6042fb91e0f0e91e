"""The search's statements, one method each."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.retrieval.filters import RESERVED, Value
from undercroft.retrieval.halfvec import render_vector
from undercroft.retrieval.search.describing import Described
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.segmentation import segment

_QUERIES: Final = load_queries("undercroft.retrieval.search")
_LISTED_CONTENTS: Final = 2_000
"""Up to how many documents are listed; where the caller may search more each candidate is asked for."""
_MOST_CHARACTERS: Final = 4_096
"""How much of a question's beginning is looked up as words, and of its end. A question may be as long as a request: as
a whole it can be more than a tsvector takes, and keeps the database busy for a second in each of the languages."""


class SearchRepository:
    """Asks the legs, and reads what they proposed as far as the principal may."""

    async def search_lexical(
        self,
        transaction: Transaction,
        collection_ids: Sequence[UUID],
        text: str,
        *,
        candidate_limit: int,
        limit: int,
        document_ids: Sequence[UUID] = (),
        is_everywhere: bool = False,
        path: str | None = None,
    ) -> list[int]:
        """Chunks with any word of ``text``, best BM25 first."""
        rows = await _QUERIES.many(
            transaction,
            "search_lexical",
            collection_ids,
            document_ids,
            is_everywhere,
            path,
            segment(_shortened(text)),
            candidate_limit,
            _LISTED_CONTENTS,
            limit,
        )
        return [row["chunk_id"] for row in rows]

    async def search_vector(
        self,
        transaction: Transaction,
        collection_ids: Sequence[UUID],
        model_name: str,
        vector: npt.NDArray[np.float32],
        *,
        exact_limit: int,
        limit: int,
        document_ids: Sequence[UUID] = (),
        is_everywhere: bool = False,
        path: str | None = None,
    ) -> dict[int, float]:
        """Chunks near ``vector``, nearest first, with their cosine similarity; none for an unregistered model."""
        rows = await _QUERIES.many(
            transaction,
            "search_vector",
            collection_ids,
            document_ids,
            is_everywhere,
            path,
            model_name,
            render_vector(vector),
            exact_limit,
            _LISTED_CONTENTS,
            limit,
        )
        # With HNSW's relaxed order rows may come slightly out of order.
        nearest = sorted(rows, key=lambda row: (-row["score"], row["chunk_id"]))
        return {row["chunk_id"]: row["score"] for row in nearest}

    async def list_collections(
        self, transaction: Transaction, collection_ids: Sequence[UUID]
    ) -> list[Record]:
        """Those of the collections that the principal may see, with the ways by which they may be searched."""
        return await _QUERIES.many(transaction, "list_collections", collection_ids)

    async def list_documents(
        self, transaction: Transaction, document_ids: Sequence[UUID]
    ) -> list[Record]:
        """Those of the documents that the principal may see, with the ways by which they may be searched."""
        return await _QUERIES.many(transaction, "list_documents", document_ids)

    async def list_document_chunks(
        self, transaction: Transaction, document_ids: Sequence[UUID], most: int
    ) -> list[Record]:
        """The ids of all passages of documents, in their order, so many at most."""
        return await _QUERIES.many(transaction, "list_document_chunks", document_ids, most)

    async def list_partly_shared(
        self, transaction: Transaction, chunk_ids: Sequence[int]
    ) -> list[Record]:
        """Those of the chunks whose documents are shared in parts."""
        return await _QUERIES.many(transaction, "list_partly_shared", chunk_ids)

    async def list_passages(
        self, transaction: Transaction, query: SearchQuery, chunk_ids: Sequence[int]
    ) -> list[Record]:
        """The chunks that the principal may search where the query says, in the order of ``chunk_ids``."""
        return await _QUERIES.many(
            transaction,
            "list_passages",
            query.collection_ids,
            chunk_ids,
            query.document_ids,
            query.is_everywhere,
            query.path,
        )

    async def list_described(
        self, transaction: Transaction, query: SearchQuery, chunk_ids: Sequence[int]
    ) -> list[Described]:
        """The documents with these chunks that the principal may search where the query says."""
        rows = await _QUERIES.many(
            transaction,
            "list_described",
            query.collection_ids,
            chunk_ids,
            query.document_ids,
            query.is_everywhere,
            query.path,
        )
        return [_described(row) for row in rows]


def _described(row: Record) -> Described:
    known: dict[str, Value] = {
        **row["attributes"],
        f"{RESERVED}created_at": row["created_at"].timestamp(),
        f"{RESERVED}media_type": row["media_type"],
        f"{RESERVED}byte_size": row["byte_size"],
    }
    return Described(row["document_id"], frozenset(row["chunk_ids"]), known)


def _shortened(text: str) -> str:
    """What a long text begins and ends with: there its question stands, before what it is about or behind it."""
    if len(text) <= 2 * _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]} {text[-_MOST_CHARACTERS:]}"
