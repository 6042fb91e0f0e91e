"""Asks every judged query of every leg, alone and fused, and measures what comes back and how soon."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

from undercroft.evaluation.beir import JudgedSet
from undercroft.evaluation.metrics import percentile
from undercroft.evaluation.progress import ProgressReport
from undercroft.evaluation.scores import MeasuredLeg, QueryScores
from undercroft.kit.clock import Clock
from undercroft.kit.errors import UnavailableError
from undercroft.kit.scope import Scope
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.search.models import FoundPassage, Leg, SearchQuery
from undercroft.retrieval.search.service import SearchService

LEGS: Final[Mapping[str, frozenset[Leg]]] = {
    "lexical": frozenset({Leg.LEXICAL}),
    "vector": frozenset({Leg.VECTOR}),
    "fused": frozenset(Leg),
}
_PASSAGES: Final = 1000
"""All that the legs propose: a document may take several places, and recall@100 wants a hundred documents."""


class Evaluator:
    """Asks one query after the other, so that a duration is that of a query and not of a queue.

    Args:
        search: Without a reranker.
        embedder: Of its vector leg.
        clock: Measures durations.
        progress: Is told how far it is.
        reranking: The same search with a reranker, where there is one.
        warm_up: How many queries are asked before the clock counts: connections, prepared statements, caches.
    """

    def __init__(
        self,
        search: SearchService,
        embedder: Embedder,
        clock: Clock,
        progress: ProgressReport,
        reranking: SearchService | None = None,
        warm_up: int = 20,
    ) -> None:
        self._warm_up = warm_up
        self._search = search
        self._reranking = reranking
        self._embedder = embedder
        self._clock = clock
        self._progress = progress

    async def measure_legs(
        self,
        scope: Scope,
        collection_id: UUID,
        judged: JudgedSet,
        twins: Mapping[str, Sequence[str]],
    ) -> dict[str, MeasuredLeg]:
        """What each leg alone and both fused rank, and a reranker after that.

        Args:
            scope: Whose collection it is.
            collection_id: Holds the corpus.
            judged: The queries and their judgements.
            twins: The ids of the documents that a file name stands for.

        Raises:
            UnavailableError: When a leg cannot be asked: figures of another leg would stand in its place.
        """
        ways = {name: (self._search, legs) for name, legs in LEGS.items()}
        if self._reranking is not None:
            ways["reranked"] = (self._reranking, frozenset(Leg))
        self._progress.phase("Measuring", len(ways) * len(judged.queries))
        measured: dict[str, MeasuredLeg] = {}
        for number, (name, (search, legs)) in enumerate(ways.items()):
            for text in islice(judged.queries.values(), self._warm_up):
                await _ask(search, scope, collection_id, text, legs)
            scores: dict[str, QueryScores] = {}
            seconds: list[float] = []
            for query, text in judged.queries.items():
                started = self._clock.monotonic()
                passages = await _ask(search, scope, collection_id, text, legs)
                seconds.append(self._clock.monotonic() - started)
                ranking = rank_documents(passages, twins)
                scores[query] = QueryScores.of(ranking, judged.judgements[query])
                self._progress.update(number * len(judged.queries) + len(scores))
            measured[name] = MeasuredLeg(scores, seconds)
        return measured

    async def measure_embedding(self, queries: Sequence[str]) -> float:
        """The median time in milliseconds to embed one query, which is part of every search but a lexical one."""
        seconds: list[float] = []
        for text in queries:
            started = self._clock.monotonic()
            await self._embedder.embed([text])
            seconds.append(self._clock.monotonic() - started)
        return 1000 * percentile(seconds, 0.5)


async def _ask(
    search: SearchService, scope: Scope, collection_id: UUID, text: str, legs: frozenset[Leg]
) -> Sequence[FoundPassage]:
    result = await search.search(scope, SearchQuery([collection_id], text, _PASSAGES, legs))
    if result.degraded:
        what = ", ".join(sorted(result.degraded))
        raise UnavailableError(f"A model stopped answering ({what}); run the command again.")
    return result.passages


def rank_documents(
    passages: Sequence[FoundPassage], twins: Mapping[str, Sequence[str]]
) -> list[str]:
    """Document ids by their best passage, best first, each once."""
    names = dict.fromkeys(passage.filename for passage in passages)
    return [document for name in names for document in twins[name]]
