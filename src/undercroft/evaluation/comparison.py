"""Two configurations held against each other, question by question: two legs of one run, or two runs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from undercroft.evaluation.bootstrap import Interval, paired_difference
from undercroft.evaluation.lines import EvaluationFileError, require_file

METRICS: Final = ("ndcg@10", "mrr@10", "recall@10", "recall@100", "right")
_PAIRS: Final = (("fused", "lexical"), ("fused", "vector"), ("reranked", "fused"))

ByQuery = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By leg, query and metric."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """By how much one exceeds the other."""

    first: str
    second: str
    metric: str
    difference: Interval

    def render(self) -> dict[str, object]:
        """As in the JSON report."""
        return {
            "first": self.first,
            "second": self.second,
            "metric": self.metric,
            "difference": round(self.difference.mean, 4),
            "low": round(self.difference.low, 4),
            "high": round(self.difference.high, 4),
        }


def compare_legs(by_query: ByQuery) -> list[Comparison]:
    """The legs of one run with each other."""
    return [
        comparison
        for first, second in _PAIRS
        if first in by_query and second in by_query
        for comparison in _compare(first, second, by_query[first], by_query[second])
    ]


def compare_runs(by_query: ByQuery, earlier: ByQuery) -> list[Comparison]:
    """Each leg with the same leg of an earlier run."""
    return [
        comparison
        for leg in by_query
        if leg in earlier
        for comparison in _compare(leg, f"{leg} before", by_query[leg], earlier[leg])
    ]


def read_earlier(path: Path, digest: str) -> ByQuery:
    """What an earlier run measured, of its JSON report.

    Raises:
        EvaluationFileError: When it is no such report, or one of other documents or questions.
    """
    if require_file(path.parent, path.name) is None:
        raise EvaluationFileError(f"{path} is not a file.")
    try:
        report: Any = json.loads(path.read_bytes())
        measured = report["header"]["digest"], report["by_query"]
        numbers = {
            str(leg): {
                str(query): {str(name): float(value) for name, value in figures.items()}
                for query, figures in queries.items()
            }
            for leg, queries in measured[1].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EvaluationFileError(
            f"{path} is not a report of `undercroft eval --json` of this version."
        ) from None
    if measured[0] != digest:
        raise EvaluationFileError(f"{path} is of other documents or questions.")
    return cast("ByQuery", numbers)


def _compare(
    first: str,
    second: str,
    ours: Mapping[str, Mapping[str, float]],
    theirs: Mapping[str, Mapping[str, float]],
) -> Iterator[Comparison]:
    for metric in METRICS:
        mine = {query: figures[metric] for query, figures in ours.items() if metric in figures}
        other = {query: figures[metric] for query, figures in theirs.items() if metric in figures}
        if mine.keys() & other.keys():
            yield Comparison(first, second, metric, paired_difference(mine, other))
