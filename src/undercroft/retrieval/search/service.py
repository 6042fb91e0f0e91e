"""Search over collections: lexical and vector legs at once, fused by reciprocal rank.

The legs only propose ids, each as a statement of its own. One last statement authorises and reads (invariant 2).
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import (
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    UndercroftError,
)
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.kit.tasks import both
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.journal import CollectionJournal
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.reranking.protocol import Reranker
from undercroft.retrieval.search.effort import Effort, with_effort
from undercroft.retrieval.search.fallback import Attempt, Fallback
from undercroft.retrieval.search.ladder import NO_DIAGNOSTICS, Diagnostics, Step
from undercroft.retrieval.search.models import (
    EXACT,
    RERANKER,
    FoundPassage,
    Leg,
    Proposals,
    Quality,
    SearchQuery,
    SearchResult,
)
from undercroft.retrieval.search.nearest import PostgresIndex
from undercroft.retrieval.search.reading import PassageReader
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.search.syntax import is_word, parse_said, parse_typed
from undercroft.retrieval.search.vector_leg import INDEX_UNAVAILABLE, NearPassages, VectorLeg
from undercroft.retrieval.texts.errors import NotIndexedError, TextSealedError
from undercroft.retrieval.vectors.protocol import VectorIndex
from undercroft.sharing.errors import ModelUseError, NotGrantedError
from undercroft.sharing.models import GrantAction, ModelUse
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.ways import acts_under
from undercroft.vault.access import no_document
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import IndexState

_FEWEST_CANDIDATES: Final = 50
_MOST_CANDIDATES: Final = 300
_CANDIDATES_EACH: Final = 5
"""How many chunks each leg proposes: what fusion can choose from, so many for each passage that is wanted. Each costs a
look at who may search it, so where few are wanted fewer are proposed: on Cranfield nDCG@10 of ten passages is .413 with
50, 100 and 300. A document may take several places, so 100 chunks are fewer documents: recall@100 of the fused legs is
.778 with 100, .785 with 200 and .795 with 300."""
_MOST_WITH_EXCLUSIONS: Final = 1_000
"""The vector leg proposes what has an excluded word as well, which is then left out."""
_MOST_SHARED_IN_PARTS: Final = 2_000
"""The legs propose what stands in parts that are not shared as well: where it takes the places of what is shared they
are asked once more, for so many."""
DEFAULT_SECONDS: Final = 10.0
_VECTOR_SHARE: Final = 0.5
"""Of a search's time, what the vector leg has: then the words alone answer in the rest."""
_EXACT_VECTOR_SHARE: Final = 0.8
"""The same where half of the time may go before the leg is asked again with the usual effort."""
_RERANKED: Final = 50
"""How many passages a reranker is shown: what the legs propose for ten that are wanted."""

MOST_WHOLE: Final = 500
"""The most passages that documents which are read whole have together."""


_log = structlog.stdlib.get_logger(__name__)


def count_candidates(query: SearchQuery) -> int:
    """How many chunks each leg proposes at first."""
    if query.is_described or query.demands.excluded or query.demands.is_strict:
        return _MOST_CANDIDATES
    return min(max(_CANDIDATES_EACH * query.limit, _FEWEST_CANDIDATES), _MOST_CANDIDATES)


class SearchService:
    """Finds passages.

    Args:
        database: Holds the index.
        keys: Open the passages.
        ledger: Where it is put on record.
        embedder: Of the vector leg.
        reranker: Orders what both propose, if there is one.
        incoming: Of the embedding model that is moved to, if there is one.
        index: Where near passages are looked for; PostgreSQL unless it is said.
        seconds: The longest that a search takes.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        embedder: Embedder,
        reranker: Reranker | None = None,
        incoming: Embedder | None = None,
        index: VectorIndex | None = None,
        *,
        seconds: float = DEFAULT_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._database = database
        self._reranker = reranker
        self._journal = CollectionJournal(database, ledger)
        embedders = [embedder, *([incoming] if incoming else [])]
        self._vectors = VectorLeg(
            database, index or PostgresIndex(database), embedders, seconds=seconds
        )
        self._reader = PassageReader(keys, ledger)
        self._fallback = Fallback(self._reader)
        self._repository = SearchRepository()

    async def require_collections(self, scope: Scope, collection_ids: Sequence[UUID]) -> None:
        """Find out before anything is promised that these can be searched.

        Raises:
            NotFoundError: When the principal may see no such collection.
            NotGrantedError: When they may see it and not search it.
        """
        async with self._refusing(scope, collection_ids) as transaction:
            await self._require_collections(transaction, scope, collection_ids)

    async def require_documents(self, scope: Scope, document_ids: Sequence[UUID]) -> None:
        """Find out before anything is promised that these can be searched.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may see it and not search it.
        """
        async with self._refusing(scope, (), document_ids) as transaction:
            await self._require_documents(transaction, document_ids)

    async def read_whole(
        self, scope: Scope, document_ids: Sequence[UUID], model_use: frozenset[ModelUse]
    ) -> Sequence[FoundPassage]:
        """All passages of documents, in their order, as far as the principal may search them and such a model see them.

        Released as what a search finds: authorised in the statement that reads, on record, and one use of each grant.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may see it and not search it.
            ModelUseError: When no such model may be shown any of one.
            TextSealedError: When one is sealed.
            NotIndexedError: When the text of one was not extracted.
            InvalidRequestError: When they have more passages than a prompt is made of.
            GrantEndedError: When another had the last use of a grant.
        """
        query = SearchQuery((), "", MOST_WHOLE, model_use=model_use, document_ids=document_ids)
        async with self._refusing(scope, (), document_ids) as transaction:
            await self._require_documents(transaction, document_ids)
            rows = await self._repository.list_document_chunks(
                transaction, document_ids, MOST_WHOLE + 1
            )
            proposals = Proposals(_require_texts(rows), {})
            found = await self._reader.read(transaction, query, proposals)
            # Of the same content one stands for all that have it.
            shown = {row["blob_id"] for _, row in found}
            if not shown.issuperset(row["blob_id"] for row in rows if row["chunk_id"] is not None):
                raise ModelUseError
            return await self._reader.release(transaction, scope, query, proposals, found, ())

    async def search(self, scope: Scope, query: SearchQuery) -> SearchResult:
        """The best passages for a question.

        When the embedder or the vector index cannot answer, the lexical leg answers alone and the result says so; so it
        does when a reranker fails or is late, and the fused order stays.

        Raises:
            NotFoundError: When the principal may see no such collection or document.
            NotGrantedError: When they may see it and not search it.
            GrantEndedError: When another had the last use of a grant that a model's passages rest on.
            UnavailableError: When no leg could be asked.
        """
        parsed = parse_typed(query.text) if query.is_typed else parse_said(query.text)
        query = replace(query, text=parsed.text, demands=parsed.demands)
        taken = (Step.PHRASES,) if query.demands.is_strict else ()
        taken = taken if is_word(query.text) else (Step.NO_WORDS,)
        following: Attempt | SearchResult
        following = Attempt(query, Diagnostics(query.demands, taken))
        try:
            async with asyncio.timeout(self._seconds):
                while isinstance(following, Attempt):
                    following = await self._search(
                        scope, following, count_candidates(following.query)
                    )
        except TimeoutError as error:
            raise UnavailableError(
                f"The search took longer than {self._seconds:g} seconds; try again, or ask for less."
            ) from error
        return following

    async def _search(
        self, scope: Scope, attempt: Attempt, candidates: int, asked: int | None = None
    ) -> SearchResult | Attempt:
        """Search once; what to try next where that helps, of which nothing is released or on record.

        Of each leg so many candidates count, of as many as are asked for, unless more are.
        """
        query, asked = attempt.query, asked or candidates
        proposals, degraded = await self._ask_legs(scope, query, asked)
        if proposals.similarities is None and Leg.LEXICAL not in query.legs:
            raise UnavailableError(
                "The embedding model or the vector index does not answer; try again."
            )
        # Another order leaves a reranker nothing to do.
        if self._reranker is not None and query.sort is None:
            ranked = await self._rerank(scope, query, proposals, self._reranker)
            if ranked is None:
                degraded.add(RERANKER)
            else:
                proposals = replace(proposals, reranked=ranked)
        refusing = self._refusing(scope, query.collection_ids, query.document_ids)
        async with refusing as transaction:
            searched = await self._require_collections(transaction, scope, query.collection_ids)
            await self._require_documents(transaction, query.document_ids)
            reading = await self._reader.read_counted(transaction, query, proposals, candidates)
            found = list(reading.found)
            is_short = len(found) < query.limit and proposals.reach(asked)
            most = _MOST_WITH_EXCLUSIONS if query.demands.excluded else _MOST_CANDIDATES
            # What was held back has taken the places of others: then nothing is released or on record yet.
            further: tuple[int, int] | None = None
            if is_short and candidates < most:
                further = most, most
            else:
                # Where the other leg fills the answer, its first places are as if what is not shared were not there.
                wanted = candidates if is_short or query.is_described else query.limit
                if asked < _MOST_SHARED_IN_PARTS and proposals.gives_way(
                    reading.shared, asked, wanted
                ):
                    further = candidates, _MOST_SHARED_IN_PARTS
            if further is None:
                diagnostics = NO_DIAGNOSTICS
                if query.is_typed:
                    following, diagnostics, found = await self._fallback.explain(
                        transaction, attempt, found
                    )
                    if following is not None:
                        return following
                passages = await self._reader.release(
                    transaction, scope, query, proposals, found, searched
                )
                return SearchResult(passages, frozenset(degraded), diagnostics, reading.facets)
        return await self._search(scope, attempt, *further)

    async def _rerank(
        self, scope: Scope, query: SearchQuery, proposals: Proposals, reranker: Reranker
    ) -> list[int] | None:
        """The best of the proposals as a reranker orders them; None when it fails or is late.

        What it is shown was authorised, and put on record if it leaves, in a transaction that has ended: none is open
        while a server is waited for. What is then released is authorised again.
        """
        shown = replace(query, limit=_RERANKED)
        if reranker.location == "external":
            shown = replace(shown, model_use=query.model_use | {ModelUse.EXTERNAL})
        async with self._refusing(scope, query.collection_ids, query.document_ids) as transaction:
            await self._require_collections(transaction, scope, query.collection_ids)
            await self._require_documents(transaction, query.document_ids)
            found = await self._reader.read(transaction, shown, proposals)
            if reranker.location == "external":
                # Being sent is not what a use that is counted was given for.
                found = [it for it in found if not any(g.is_counted for g in it[0].way.grants)]
                await self._reader.record_ranking(transaction, scope, found)
        passages = [passage for passage, _ in found]
        texts = ["\n".join([*passage.headings, passage.text]) for passage in passages]
        try:
            scores = await reranker.score(query.text, texts)
        except UndercroftError as error:
            _log.warning("reranker_unavailable", model=reranker.name, reason=error.message)
            return None
        order = sorted(range(len(passages)), key=lambda place: -scores[place])
        return [passages[place].chunk_id for place in order]

    def _refusing(
        self, scope: Scope, collection_ids: Sequence[UUID], document_ids: Sequence[UUID] = ()
    ) -> AbstractAsyncContextManager[Transaction]:
        action = "collection.search" if collection_ids else "document.search"
        return self._journal.refusing(scope, action, collection_ids, document_ids)

    async def _require_documents(
        self, transaction: Transaction, document_ids: Sequence[UUID]
    ) -> None:
        if not document_ids:
            return
        rows = await self._repository.list_documents(transaction, document_ids)
        ways = {row["id"]: row["ways"] for row in rows}
        for document_id in document_ids:
            if document_id not in ways:
                raise no_document(document_id)
            if ways[document_id] is None:
                raise NotGrantedError(GrantAction.SEARCH)

    async def _require_collections(
        self, transaction: Transaction, scope: Scope, collection_ids: Sequence[UUID]
    ) -> list[Act]:
        """That each of them is searched, as the ledger has it: one that finds nothing tells something as well."""
        if not collection_ids:
            return []
        rows = await self._repository.list_collections(transaction, collection_ids)
        found = {row["id"]: row for row in rows}
        acts: list[Act] = []
        for collection_id in collection_ids:
            reference = render_id(COLLECTION_PREFIX, collection_id)
            if collection_id not in found:
                raise NotFoundError("vector store", reference)
            row = found[collection_id]
            ways = read_ways(row["ways"])
            if not ways:
                raise NotGrantedError(GrantAction.SEARCH)
            subject = Subject(reference, row["salt"])
            act = Act("collection.search", subject, row["owner_id"])
            acts += acts_under(scope, choose_way(ways), act)
        return acts

    async def _ask_legs(
        self, scope: Scope, query: SearchQuery, candidates: int
    ) -> tuple[Proposals, set[str]]:
        """Both at once, with what could not be asked."""
        (words, is_given_up), near = await both(
            self._search_lexical(scope, query, candidates),
            self._search_vector(scope, query, candidates),
        )
        return Proposals(words, near.similarities), {
            *near.degraded,
            *([EXACT] if is_given_up else []),
        }

    async def _search_lexical(
        self, scope: Scope, query: SearchQuery, limit: int
    ) -> tuple[list[int], bool]:
        """Chunks, best first, and whether the effort that was asked for was given up."""
        if Leg.LEXICAL not in query.legs:
            return [], False

        async def search(effort: Effort) -> list[int]:
            async with self._database.scoped_statement() as connection:
                return await self._repository.search_lexical(
                    connection,
                    query.collection_ids,
                    query.text,
                    candidate_limit=effort.ranked,
                    limit=limit,
                    document_ids=query.document_ids,
                    is_everywhere=query.is_everywhere,
                    demands=query.demands,
                    path=query.path,
                    scope=scope,
                )

        return await with_effort(query.quality, search, self._seconds)

    async def _search_vector(self, scope: Scope, query: SearchQuery, limit: int) -> NearPassages:
        if Leg.VECTOR not in query.legs:
            return NearPassages({})
        share = _VECTOR_SHARE if query.quality is not Quality.EXACT else _EXACT_VECTOR_SHARE
        try:
            async with asyncio.timeout(self._seconds * share):
                return await self._vectors.propose(scope, query, limit)
        except TimeoutError:
            _log.warning("vector_leg_late")
        except INDEX_UNAVAILABLE as error:
            _log.warning("vector_index_unavailable", reason=type(error).__name__)
        return NearPassages(None, frozenset({Leg.VECTOR}))


def _require_texts(rows: Sequence[Record]) -> list[int]:
    """The ids of the passages, each once."""
    for row in rows:
        if row["is_sealed"]:
            raise TextSealedError
        if (state := IndexState(row["index_state"])) is not IndexState.INDEXED:
            raise NotIndexedError(state)
    if len(rows) > MOST_WHOLE:
        raise InvalidRequestError(
            f"The files have more than {MOST_WHOLE} passages together. Give fewer or shorter ones, or search them.",
            param="input",
            code="context_length_exceeded",
        )
    return list(dict.fromkeys(row["chunk_id"] for row in rows if row["chunk_id"] is not None))
