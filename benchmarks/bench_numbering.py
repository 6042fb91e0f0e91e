"""Numbering entries while somebody holds an old snapshot, as a backup does, against numbering while nobody does.

``PYTHONPATH=. python benchmarks/bench_numbering.py [--rounds N] [--entries N]``. In each round so many entries are
appended and then numbered. Under a snapshot none of the rows that were moved can be removed: a cost that goes with them
would grow from round to round.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from benchmarks.bench_ledger import prepare
from benchmarks.report import header, publish, summary
from tests.conftest import Member
from tests.ledger.conftest import Parts, act, make_parts
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import (
    grant_service_role,
    load_migrations,
    migrate,
    migrations_folder,
)
from undercroft.kit.postgres.server import DatabaseUrls, EmbeddedPostgres

_AT_ONCE: Final = 1000


async def append(parts: Parts, database: Database, member: Member, entries: int) -> None:
    """In transactions of a thousand each."""
    for _ in range(0, entries, _AT_ONCE):
        async with database.transaction(member) as transaction:
            await parts.ledger.append(transaction, member, *[act(1)] * _AT_ONCE)


async def number(parts: Parts, entries: int) -> tuple[float, float]:
    """Milliseconds for a thousand entries, and for a look that finds nothing."""
    started = time.perf_counter()
    while await parts.sequencer.sequence_all():
        pass
    numbered = time.perf_counter()
    await parts.sequencer.sequence_all()
    idle = time.perf_counter() - numbered
    return (numbered - started) * 1000 * _AT_ONCE / entries, idle * 1000


async def measure(
    urls: DatabaseUrls, member: Member, rounds: int, entries: int, *, is_held: bool
) -> dict[str, Any]:
    """The figures of each round, by a process that knows nothing of the ones before."""
    numbering: list[float] = []
    idle: list[float] = []
    holder = await asyncpg.connect(urls.migration)
    try:
        if is_held:
            await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await holder.fetchval("SELECT count(*) FROM pg_class")
        async with Database(urls.service, clock=SystemClock(), size=4) as database:
            parts = make_parts(database)
            for _ in range(rounds):
                await append(parts, database, member, entries)
                taken, looked = await number(parts, entries)
                numbering.append(taken)
                idle.append(looked)
    finally:
        await holder.close()
    return {
        "milliseconds_per_1000_entries": summary(numbering),
        "idle_look_milliseconds": summary(idle),
        "last_half_to_first_half": round(_last_to_first(numbering), 2),
    }


def _last_to_first(samples: list[float]) -> float:
    half = len(samples) // 2
    return sum(samples[-half:]) / sum(samples[:half])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--entries", type=int, default=20_000)
    arguments = parser.parse_args()
    document = header("numbering")

    async def run(folder: Path) -> dict[str, Any]:
        async with EmbeddedPostgres(folder, clock=SystemClock()) as urls:
            await migrate(urls.migration, load_migrations(migrations_folder()))
            await grant_service_role(urls.migration, str(urlsplit(urls.service).username))
            async with Database(urls.service, clock=SystemClock(), size=2) as database:
                member = await prepare(database, urls, IdSource())
            size = (arguments.rounds, arguments.entries)
            return {
                "entries_per_round": arguments.entries,
                "without_snapshot": await measure(urls, member, *size, is_held=False),
                "under_snapshot": await measure(urls, member, *size, is_held=True),
            }

    with tempfile.TemporaryDirectory() as folder:
        measured = asyncio.run(run(Path(folder)))
    publish(document | measured)


if __name__ == "__main__":
    main()
