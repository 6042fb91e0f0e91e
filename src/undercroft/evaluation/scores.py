"""What was measured of a ranking: one set of figures for each query, and their means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from undercroft.evaluation.metrics import ndcg, percentile, recall, reciprocal_rank

CUTOFFS: Final = (1, 3, 5, 10, 20, 50, 100)
"""At how many documents recall is measured."""
RANKED: Final = 10
"""How many documents count for the order."""


@dataclass(frozen=True, slots=True)
class QueryScores:
    """Of one ranking against the judgements of its query."""

    ndcg_at_10: float
    mrr_at_10: float
    recalls: tuple[float, ...]

    @classmethod
    def of(cls, ranking: Sequence[str], grades: Mapping[str, int]) -> "QueryScores":
        """Measure a ranking, best first."""
        return cls(
            ndcg(ranking, grades, RANKED),
            reciprocal_rank(ranking, grades, RANKED),
            tuple(recall(ranking, grades, cutoff) for cutoff in CUTOFFS),
        )

    def render(self) -> dict[str, float]:
        """The figures under the names of reports."""
        return {
            "ndcg@10": round(self.ndcg_at_10, 4),
            "mrr@10": round(self.mrr_at_10, 4),
            **{
                f"recall@{cutoff}": round(value, 4)
                for cutoff, value in zip(CUTOFFS, self.recalls, strict=True)
            },
        }


@dataclass(frozen=True, slots=True)
class MeasuredLeg:
    """All queries asked of one leg.

    Attributes:
        queries: By the query's id.
        seconds: How long each search took, one at a time.
    """

    queries: Mapping[str, QueryScores]
    seconds: Sequence[float]

    def render(self) -> dict[str, float]:
        """Means over the queries, and percentiles of the duration of a whole search."""
        every = list(self.queries.values())
        recalls = [
            sum(values) / len(every) for values in zip(*(q.recalls for q in every), strict=True)
        ]
        mean = QueryScores(
            sum(query.ndcg_at_10 for query in every) / len(every),
            sum(query.mrr_at_10 for query in every) / len(every),
            tuple(recalls),
        )
        return {
            **mean.render(),
            "p50_ms": round(1000 * percentile(self.seconds, 0.5), 2),
            "p95_ms": round(1000 * percentile(self.seconds, 0.95), 2),
        }
