"""The search's statements, one method each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from asyncpg import Record

from undercroft.kit.database import Transaction, scope_arguments
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.retrieval.filters import RESERVED, Value
from undercroft.retrieval.halfvec import render_vector
from undercroft.retrieval.search.describing import Described
from undercroft.retrieval.search.models import FoundPassage, SearchQuery
from undercroft.retrieval.search.syntax import NO_DEMANDS, Demands
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
        connection: AnyConnection,
        collection_ids: Sequence[UUID],
        text: str,
        *,
        candidate_limit: int,
        limit: int,
        document_ids: Sequence[UUID] = (),
        is_everywhere: bool = False,
        demands: Demands = NO_DEMANDS,
        path: str | None = None,
        scope: Scope | None = None,
    ) -> list[int]:
        """Chunks with any word of ``text`` that are as demanded: with an identifier first, then best BM25 first.

        With a ``scope`` in a transaction of its own, else in one that is open.
        """
        arguments = (
            collection_ids,
            document_ids,
            is_everywhere,
            path,
            segment(_shortened(text)),
            candidate_limit,
            _LISTED_CONTENTS,
            limit,
            _render(demands),
        )
        if scope is None:
            rows = await _QUERIES.many(connection, "search_lexical", *arguments)
        else:
            rows = await _QUERIES.many(
                connection, "search_lexical_alone", *arguments, *scope_arguments(scope)
            )
        return [row["chunk_id"] for row in rows]

    async def search_vector(
        self,
        connection: AnyConnection,
        scope: Scope,
        collection_ids: Sequence[UUID],
        model_name: str,
        vector: npt.NDArray[np.float32],
        *,
        exact_limit: int,
        limit: int,
        reach: int | None = 3,
        document_ids: Sequence[UUID] = (),
        is_everywhere: bool = False,
        path: str | None = None,
    ) -> dict[int, float]:
        """Chunks near ``vector``, nearest first, with their cosine similarity; none for an unregistered model.

        Args:
            connection: With no transaction, or one of the same scope.
            scope: On whose behalf.
            collection_ids: What is searched, with ``document_ids`` and ``is_everywhere``.
            model_name: Of whose vectors ``vector`` is one.
            vector: Of unit length.
            exact_limit: Up to how many authorised ones are compared one by one before the index is asked.
            limit: How many are wanted.
            reach: How far the index is looked through, as an effort says; None compares one by one or fails.
            document_ids: See ``collection_ids``.
            is_everywhere: See ``collection_ids``.
            path: What a document has to be, where it is found.

        Raises:
            ProgramLimitExceededError: When the index may not be asked, and more than ``exact_limit`` may be searched.
        """
        rows = await _QUERIES.many(
            connection,
            "search_vector",
            collection_ids,
            document_ids,
            is_everywhere,
            path,
            model_name,
            render_vector(vector),
            exact_limit,
            _LISTED_CONTENTS,
            reach,
            limit,
            *scope_arguments(scope),
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

    async def judge_proposals(
        self,
        transaction: Transaction,
        chunk_ids: Sequence[int],
        query: SearchQuery,
        shown: Mapping[int, str],
    ) -> list[Record]:
        """Which of the chunks are as demanded, which have an identifier whole, and which a word of the question.

        Args:
            transaction: In which they are read.
            chunk_ids: What is proposed.
            query: What is asked.
            shown: What is looked at of a chunk that is shown in parts. Of others all counts that the index has.
        """
        return await _QUERIES.many(
            transaction,
            "judge_proposals",
            chunk_ids,
            _render(query.demands),
            list(shown),
            list(map(segment, shown.values())),
            segment(_shortened(query.text)),
        )

    async def mark_passages(
        self,
        transaction: Transaction,
        passages: Sequence[FoundPassage],
        texts: Sequence[str | None],
        words: Sequence[str],
    ) -> list[Record]:
        """The texts of passages, if given, with words marked in them, and the places of words they have, from 1."""
        shown = (passage.words_in_parts for passage in passages)
        return await _QUERIES.many(
            transaction,
            "mark_passages",
            [passage.chunk_id for passage in passages],
            texts,
            words,
            [None if text is None else segment(text) for text in shown],
        )

    async def list_similar_terms(
        self, transaction: Transaction, query: SearchQuery, words: Sequence[str], most: int
    ) -> list[Record]:
        """Which of some words are known where the query says; of the others, terms that are like their stems there.

        Known is what stands in a document that the principal may search as a whole. Each term comes with a passage that
        has it, of a document that they may search, perhaps of a part that they may not.

        Args:
            transaction: Whose principal searches.
            query: Where.
            words: What is looked for; each row has the place of its word, from 1.
            most: Terms for each word, the likest.
        """
        return await _QUERIES.many(
            transaction,
            "list_similar_terms",
            query.collection_ids,
            query.document_ids,
            query.is_everywhere,
            query.path,
            words,
            _LISTED_CONTENTS,
            most,
        )

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
        self,
        transaction: Transaction,
        query: SearchQuery,
        chunk_ids: Sequence[int],
        among: Sequence[int] = (),
    ) -> list[Record]:
        """The chunks that the principal may search where the query says, in the order of ``chunk_ids``.

        Each says whether any chunk that it was chosen ``among`` may be in a document that is shared in parts.
        """
        return await _QUERIES.many(
            transaction,
            "list_passages",
            query.collection_ids,
            chunk_ids,
            query.document_ids,
            query.is_everywhere,
            query.path,
            among,
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


def _render(demands: Demands) -> dict[str, list[str]] | None:
    """As the database's functions take them, cut as the index's words were."""
    if not demands:
        return None
    return {name: [segment(piece) for piece in pieces] for name, pieces in asdict(demands).items()}


def _shortened(text: str) -> str:
    """What a long text begins and ends with: there its question stands, before what it is about or behind it."""
    if len(text) <= 2 * _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]} {text[-_MOST_CHARACTERS:]}"
