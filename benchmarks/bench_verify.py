"""Verification of a mirrored log against bare hashing: the same files read, the same hashes made, nothing else.

``PYTHONPATH=. python benchmarks/bench_verify.py [--entries N] [--rounds N]``.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.report import header, publish, summary
from tests.ledger.mirror import checkpoint_of, make_entry, make_key, write_tiles
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.verify import verify_path


def write_log(folder: Path, count: int) -> int:
    """A log of so many entries of usual size; how many bytes all entries have."""
    sizes = 0

    def entries() -> Any:  # noqa: ANN401 - a generator
        nonlocal sizes
        for number in range(count):
            entry = make_entry(number, trace=f"req_{number:032x}")
            sizes += len(entry)
            yield entry

    hashes = write_tiles(folder, entries())
    (folder / "checkpoint").write_text(checkpoint_of(hashes, make_key()), encoding="utf-8")
    return sizes


def verify(folder: Path) -> None:
    report = verify_path(folder, [parse_key(make_key().verifier)])
    assert report.good, report.to_text()


def hash_bare(folder: Path) -> None:
    """Every entry's hash and, for each of them, that of a node."""
    for path in (folder / "tile" / "0").rglob("*"):
        if path.is_file():
            path.read_bytes()
    node = bytes(32)
    for path in (folder / "tile" / "entries").rglob("*"):
        if not path.is_file():
            continue
        data, at = path.read_bytes(), 0
        while at < len(data):
            end = at + 2 + (data[at] << 8 | data[at + 1])
            leaf = sha256(b"\x00" + data[at + 2 : end]).digest()
            node = sha256(b"\x01" + node + leaf).digest()
            at = end


def time_cpu(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    started, cpu = time.perf_counter(), time.process_time()
    work(folder)
    return time.perf_counter() - started, time.process_time() - cpu


def measure(entries: int, rounds: int) -> dict[str, Any]:
    document = header("verify")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own, so that its memory is not counted here.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            size = pool.submit(write_log, folder, entries).result()
        hash_bare(folder)  # fills the page cache
        idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        samples: dict[str, list[tuple[float, float]]] = {"verify": [], "bare": []}
        for _ in range(rounds):
            # Alternating, so that a drift of the machine meets both alike.
            samples["verify"].append(time_cpu(verify, folder))
            samples["bare"].append(time_cpu(hash_bare, folder))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall = {way: summary([clock for clock, _ in taken], 3) for way, taken in samples.items()}
    cpu = {way: summary([used for _, used in taken], 3) for way, taken in samples.items()}
    return document | {
        "entries": entries,
        "entry_bytes": size,
        "seconds": wall,
        "cpu_seconds": cpu,
        "entries_per_second": round(entries / wall["verify"]["median"]),
        "entries_per_cpu_second": round(entries / cpu["verify"]["median"]),
        "cpu_ratio": round(cpu["verify"]["median"] / cpu["bare"]["median"], 2),
        "memory_above_idle_mib": round((peak - idle) / 1024, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    publish(measure(max(1, arguments.entries), max(1, arguments.rounds)))


if __name__ == "__main__":
    main()
