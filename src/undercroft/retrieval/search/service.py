"""Search over collections: lexical and vector legs at once, fused by reciprocal rank.

The legs only propose ids, each in its own transaction. One last statement authorises and reads (invariant 2).
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, unseal
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import NotFoundError, UnavailableError, UndercroftError
from undercroft.kit.ids import render_id
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.journal import (
    COLLECTION_PREFIX,
    CollectionJournal,
    collection_act,
    document_act,
)
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.passages import PassagePlace, PassageText, open_passage
from undercroft.retrieval.ranking import reciprocal_rank_fusion
from undercroft.retrieval.search.models import FoundPassage, Leg, SearchQuery, SearchResult
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.vault.access import document_name_place
from undercroft.vault.keys.service import KeyRing

_CANDIDATES: Final = 300
"""How many chunks each leg proposes: what fusion can choose from. A document may take several places, so 100 chunks
are fewer documents: on Cranfield recall@100 of the fused legs is .778 with 100, .785 with 200 and .795 with 300."""
_LEXICAL_BOUND: Final = 20_000
"""How many chunks are scored by BM25 at most, about: 23 ms at the median over 400,000 (docs/adr/0005)."""
_EXACT_LIMIT: Final = 20_000
"""Up to how many authorised chunks the vector leg compares one by one."""

_log = structlog.stdlib.get_logger(__name__)


class SearchService:
    """Finds passages."""

    def __init__(
        self, database: Database, keys: KeyRing, ledger: Ledger, embedder: Embedder
    ) -> None:
        self._database = database
        self._keys = keys
        self._journal = CollectionJournal(database, ledger)
        self._embedder = embedder
        self._repository = SearchRepository()

    async def require_collections(self, scope: Scope, collection_ids: Sequence[UUID]) -> None:
        """Find out before anything is promised that these can be searched.

        Raises:
            NotFoundError: When the principal may see no such collection.
        """
        async with self._refusing(scope, collection_ids) as transaction:
            await self._require_collections(transaction, collection_ids)

    async def search(self, scope: Scope, query: SearchQuery) -> SearchResult:
        """The best passages for a question.

        When the embedder cannot answer, the lexical leg answers alone and the result says so.

        Raises:
            NotFoundError: When the principal may see no such collection.
            UnavailableError: When no leg could be asked.
        """
        lexical, vector = await self._ask_legs(scope, query)
        degraded = frozenset({Leg.VECTOR}) if vector is None else frozenset[Leg]()
        if vector is None and Leg.LEXICAL not in query.legs:
            raise UnavailableError("The embedding model does not answer; try again.")
        similarities = vector or {}
        rankings = [ranking for ranking in (lexical, list(similarities)) if ranking]
        fused = reciprocal_rank_fusion(rankings)
        passages = await self._read(scope, query, fused, similarities)
        return SearchResult(passages, degraded)

    def _refusing(
        self, scope: Scope, collection_ids: Sequence[UUID]
    ) -> AbstractAsyncContextManager[Transaction]:
        return self._journal.refusing(scope, "collection.search", collection_ids)

    async def _require_collections(
        self, transaction: Transaction, collection_ids: Sequence[UUID]
    ) -> dict[UUID, bytes]:
        """The collections with their salts."""
        salts = await self._repository.list_collection_salts(transaction, collection_ids)
        for collection_id in collection_ids:
            if collection_id not in salts:
                raise NotFoundError("vector store", render_id(COLLECTION_PREFIX, collection_id))
        return salts

    async def _ask_legs(
        self, scope: Scope, query: SearchQuery
    ) -> tuple[list[int], dict[int, float] | None]:
        """Both at once; when one fails, the other ends before the failure is told."""
        lexical = asyncio.ensure_future(self._search_lexical(scope, query))
        vector = asyncio.ensure_future(self._search_vector(scope, query))
        try:
            return await asyncio.gather(lexical, vector)
        finally:
            for leg in (lexical, vector):
                leg.cancel()
            await asyncio.gather(lexical, vector, return_exceptions=True)

    async def _search_lexical(self, scope: Scope, query: SearchQuery) -> list[int]:
        if Leg.LEXICAL not in query.legs:
            return []
        async with self._database.transaction(scope) as transaction:
            return await self._repository.search_lexical(
                transaction,
                query.collection_ids,
                query.text,
                candidate_limit=_LEXICAL_BOUND,
                limit=_CANDIDATES,
            )

    async def _search_vector(self, scope: Scope, query: SearchQuery) -> dict[int, float] | None:
        """Near chunks with their similarities; None when the embedder does not answer."""
        if Leg.VECTOR not in query.legs:
            return {}
        model = self._embedder.model
        try:
            vectors = await self._embedder.embed([query.text])
        except UndercroftError as error:
            _log.warning("embedder_unavailable", model=model.name, reason=error.message)
            return None
        async with self._database.transaction(scope) as transaction:
            return await self._repository.search_vector(
                transaction,
                query.collection_ids,
                model.name,
                vectors[0],
                exact_limit=_EXACT_LIMIT,
                limit=_CANDIDATES,
            )

    async def _read(
        self,
        scope: Scope,
        query: SearchQuery,
        fused: Sequence[tuple[int, float]],
        similarities: dict[int, float],
    ) -> list[FoundPassage]:
        scores = dict(fused[: 2 * _CANDIDATES])
        async with self._refusing(scope, query.collection_ids) as transaction:
            salts = await self._require_collections(transaction, query.collection_ids)
            rows = await self._repository.list_passages(
                transaction, query.collection_ids, list(scores)[: query.limit]
            )
            # In the transaction that read them: no passage is released of which the ledger does not know.
            # A search that finds nothing tells something as well.
            searched = [
                collection_act(scope, "collection.search", collection_id, salt)
                for collection_id, salt in salts.items()
            ]
            await self._journal.record(transaction, scope, *searched, *_acts(scope, rows))
        found: list[FoundPassage] = []
        for row in rows:
            chunk_id = row["chunk_id"]
            try:
                found.append(await self._open(row, scores[chunk_id], similarities.get(chunk_id)))
            except DecryptionError:
                # One damaged passage must not keep the others from whoever searches.
                _log.error(
                    "passage_damaged", chunk_id=chunk_id, document_id=str(row["document_id"])
                )
        return found

    async def _open(self, row: Record, score: float, similarity: float | None) -> FoundPassage:
        key = await self._keys.open(row)
        place = PassagePlace(row["tenant_id"], row["blob_id"], row["ordinal"])
        passage = open_passage(key.material, place, row["sealed_text"])
        name_key = await self._keys.open(row, "name_")
        name_place = document_name_place(row["tenant_id"], row["document_id"])
        filename = unseal(name_key.material, row["sealed_name"], name_place).decode()
        return _passage(row, passage, filename, score, similarity)


def _acts(scope: Scope, rows: Sequence[Record]) -> list[Act]:
    """One act for each document version that passages are read from."""
    read = {(row["document_id"], row["current_version"]): row["name_salt"] for row in rows}
    return [
        document_act(scope, "document.search", document_id, salt, version)
        for (document_id, version), salt in read.items()
    ]


def _passage(
    row: Record, passage: PassageText, filename: str, score: float, similarity: float | None
) -> FoundPassage:
    return FoundPassage(
        chunk_id=row["chunk_id"],
        document_id=row["document_id"],
        document_version=row["current_version"],
        filename=filename,
        attributes=row["attributes"],
        text=passage.text,
        start=row["start_offset"],
        end=row["end_offset"],
        page_start=row["page_start"],
        page_end=row["page_end"],
        headings=passage.headings,
        score=score,
        similarity=similarity,
        later_headings=passage.later_headings,
    )
