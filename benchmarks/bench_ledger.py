"""Appending to the ledger against a plain INSERT of the same bytes: one of either in each transaction, both flushed.

``PYTHONPATH=. python benchmarks/bench_ledger.py [--writers N] [--seconds S] [--rounds N]``. No
sequencer runs: what is measured is what a request pays.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from benchmarks.report import header, publish, summary
from tests.conftest import Member
from tests.ledger.conftest import act
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
from undercroft.ledger.leaves import encode_leaf
from undercroft.ledger.service import Ledger

_SALT: Final = bytes(32)
_PLAIN: Final = (
    "CREATE TABLE plain (tenant_id uuid NOT NULL, id uuid PRIMARY KEY, bytes bytea NOT NULL);"
    " GRANT INSERT ON plain TO undercroft_app"
)

Work = Callable[[], Awaitable[None]]


async def prepare(database: Database, urls: DatabaseUrls, ids: IdSource) -> Member:
    """A tenant with a user, and the plain table."""
    owner = await asyncpg.connect(urls.migration)
    try:
        await owner.execute(_PLAIN)
    finally:
        await owner.close()
    member = Member(ids.new(), ids.new(), "ann@example.org")
    async with database.transaction(member) as transaction:
        await transaction.execute(
            "INSERT INTO tenants (id, name) VALUES ($1, 'bench')", member.tenant_id
        )
        await transaction.execute(
            "INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, 'member')",
            member.principal_id,
            member.tenant_id,
            member.email,
        )
    return member


async def rate(work: Work, writers: int, seconds: float) -> float:
    """How often the work was done in a second, by so many writers at once."""
    done, started = 0, time.perf_counter()

    async def write() -> None:
        nonlocal done
        while time.perf_counter() - started < seconds:
            await work()
            done += 1

    await asyncio.gather(*(write() for _ in range(writers)))
    return done / (time.perf_counter() - started)


async def measure(urls: DatabaseUrls, writers: int, seconds: float, rounds: int) -> dict[str, Any]:
    clock = SystemClock()
    ids = IdSource(clock)
    async with Database(urls.service, clock=clock, size=writers) as database:
        member = await prepare(database, urls, ids)
        ledger = Ledger(database, ids, clock)
        what, trace = act(1), None

        async def append() -> None:
            async with database.transaction(member) as transaction:
                await ledger.append(transaction, member, what)

        def leaf(entry_id: UUID) -> bytes:
            actor = member.principal_id
            salts = {actor: _SALT}
            return encode_leaf(entry_id, entry_id, clock.now(), actor, what, salts, trace)

        example = leaf(ids.new())

        async def insert() -> None:
            entry_id = ids.new()
            async with database.transaction(member) as transaction:
                await transaction.execute(
                    "INSERT INTO plain (tenant_id, id, bytes) VALUES ($1, $2, $3)",
                    member.tenant_id,
                    entry_id,
                    example,
                )

        ways: dict[str, Work] = {"append": append, "insert": insert}
        samples: dict[str, list[float]] = {way: [] for way in ways}
        for work in ways.values():
            await rate(work, writers, min(seconds, 1.0))
        for number in range(rounds):
            # Alternating, and each first as often: a drift of the machine meets both alike.
            for way in sorted(ways, reverse=number % 2 == 1):
                samples[way].append(await rate(ways[way], writers, seconds))
    ratios = [a / b for a, b in zip(samples["append"], samples["insert"], strict=True)]
    return {
        "writers": writers,
        "entry_bytes": len(example),
        "per_second": {way: summary(taken) for way, taken in samples.items()},
        "ratio": summary(ratios, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    document = header("ledger")

    async def run(folder: Path) -> dict[str, Any]:
        async with EmbeddedPostgres(folder, clock=SystemClock()) as urls:
            await migrate(urls.migration, load_migrations(migrations_folder()))
            await grant_service_role(urls.migration, str(urlsplit(urls.service).username))
            return await measure(urls, arguments.writers, arguments.seconds, arguments.rounds)

    with tempfile.TemporaryDirectory() as folder:
        measured = asyncio.run(run(Path(folder)))
    publish(document | measured)


if __name__ == "__main__":
    main()
