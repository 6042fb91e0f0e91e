"""PgQueuer's tables: the library's own, ours to hand out, and in step with ``jobs``."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID, uuid4

import asyncpg
import pytest
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job as Dispatch
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

from tests.conftest import MakeScope
from tests.jobs.conftest import PATIENCE, Enqueue, RunWorker, handler_of
from tests.round_trips import counted_wire
from undercroft.jobs.dispatch import CHANNEL, DispatchQueries
from undercroft.jobs.handler import JobContext
from undercroft.jobs.models import JobState
from undercroft.jobs.repository import JobRepository
from undercroft.jobs.service import JobService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls

LAPSED: Final = timedelta(0)
NEVER: Final = timedelta(hours=1)


async def dequeue(
    queries: DispatchQueries,
    worker: UUID,
    lapses_after: timedelta,
    kinds: Sequence[QueueEntrypoint] = (QueueEntrypoint("index"),),
) -> list[Dispatch]:
    wanted = dict.fromkeys(kinds, EntrypointExecutionParameter(concurrency_limit=0))
    return await queries.dequeue(10, wanted, QueueManagerId(worker), None, lapses_after)


async def test_the_tables_are_what_the_library_declares_but_for_its_trigger(
    database_urls: DatabaseUrls,
) -> None:
    async with Database(database_urls.migration, clock=SystemClock(), size=2) as owner:
        plan = await DispatchQueries(owner, {}).plan_upgrade()
    assert [re.split(r"\(|AFTER", statement)[0] for statement in plan.statements] == [
        "CREATE FUNCTION fn_pgqueuer_changed",
        "CREATE TRIGGER tg_pgqueuer_changed\n",
    ]
    assert not plan.notes


async def test_the_library_accepts_the_tables_with_the_services_rights(database: Database) -> None:
    await QueueManager(DispatchQueries(database, {}), channel=CHANNEL).verify_structure()


async def test_the_names_are_not_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    for name in (
        "PGQUEUER_PREFIX",
        "QUEUE_TABLE",
        "TRIGGER",
        "PGQUEUER_SCHEMA",
        "STATISTICS_TABLE",
    ):
        monkeypatch.setenv(name, "elsewhere")
    await QueueManager(DispatchQueries(database, {}), channel=CHANNEL).verify_structure()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO pgqueuer (priority, entrypoint, status) VALUES (0, 'index', 'queued')",
        "UPDATE pgqueuer SET payload = NULL",
        "UPDATE pgqueuer SET entrypoint = 'erase'",
        "TRUNCATE pgqueuer",
        "SELECT * FROM pgqueuer_log",
        "SELECT * FROM pgqueuer_schedules",
        "DELETE FROM jobs",
        "LISTEN ch_pgqueuer; SELECT count(*) FROM pgqueuer_statistics WHERE count > 0",
    ],
)
async def test_the_service_has_no_more_rights_than_it_needs(
    statement: str, database: Database
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction_without_scope() as transaction:
            await transaction.execute(statement)


async def test_a_worker_finishes_only_what_it_still_holds(
    database: Database, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    stalled, other = (
        DispatchQueries(database, {"index": 1}),
        DispatchQueries(database, {"index": 1}),
    )
    other_id = uuid4()
    await enqueue(await make_scope(), "index")
    taken = await dequeue(stalled, uuid4(), NEVER)
    assert len(taken) == 1
    assert [job.id for job in await dequeue(other, other_id, LAPSED)] == [taken[0].id]

    before = await other.queue_job_by_id(taken[0].id)
    await stalled.update_heartbeat([taken[0].id])
    await stalled.retry_job(taken[0], timedelta(0), None)
    await stalled.log_jobs([(taken[0], "exception", None)])
    await stalled.log_jobs([(taken[0], "successful", None)])
    assert await other.queue_job_by_id(taken[0].id) == before
    assert before is not None
    assert before.queue_manager_id == other_id


async def test_where_there_is_nothing_to_do_one_look_at_all_kinds_is_enough(
    database_urls: DatabaseUrls,
) -> None:
    kinds = [QueueEntrypoint(kind) for kind in ("index", "erase", "mail")]
    async with (
        counted_wire(database_urls.service) as (url, wire),
        Database(url, clock=SystemClock(), size=1) as database,
    ):
        queries = DispatchQueries(database, dict.fromkeys(kinds, 2))
        # Statements are prepared once for each connection.
        assert await dequeue(queries, uuid4(), NEVER, kinds) == []
        before = wire.round_trips
        assert await dequeue(queries, uuid4(), NEVER, kinds) == []
        assert wire.round_trips - before == 1


async def test_of_each_kind_as_many_are_picked_as_there_is_room_for(
    database: Database, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    scope, limits = await make_scope(), {"index": 3, "erase": 1, "mail": 2}
    for kind in limits:
        for _ in range(4):
            await enqueue(scope, kind)
    queries = DispatchQueries(database, limits)
    kinds = [QueueEntrypoint(kind) for kind in limits]
    picked = await dequeue(queries, uuid4(), NEVER, kinds)
    assert Counter(job.entrypoint for job in picked) == limits
    assert len({job.id for job in picked}) == len(picked)
    assert await dequeue(queries, uuid4(), NEVER, kinds) == []


@pytest.mark.parametrize("status", ["exception", "canceled"])
async def test_what_broke_off_is_offered_again(
    status: Literal["exception", "canceled"],
    database: Database,
    enqueue: Enqueue,
    make_scope: MakeScope,
) -> None:
    scope, worker = await make_scope(), uuid4()
    queries = DispatchQueries(database, {"index": 1})
    for _ in range(2):
        await enqueue(scope, "index")
    (first,) = await dequeue(queries, worker, NEVER)
    assert await dequeue(queries, worker, NEVER) == []
    await queries.log_jobs([(first, status, None)])
    offered = await queries.queue_job_by_id(first.id)
    assert offered is not None
    assert (offered.status, offered.queue_manager_id) == ("queued", None)
    assert offered.execute_after > offered.updated
    assert [job.id for job in await dequeue(queries, worker, NEVER)] == [first.id + 1]


async def test_a_job_without_a_place_in_line_gets_one(
    database: Database,
    jobs: JobService,
    enqueue: Enqueue,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    lost = await enqueue(scope, "index")
    crashed = await enqueue(scope, "index")
    in_line = await enqueue(scope, "other")
    async with database.transaction_without_scope() as transaction:
        await JobRepository().claim_job(transaction, crashed)
        await transaction.execute("DELETE FROM pgqueuer WHERE entrypoint = 'index'")
    ran: set[UUID] = set()
    done = asyncio.Event()

    async def handle(context: JobContext) -> None:
        ran.add(context.job_id)
        if ran == {lost, crashed}:
            done.set()

    async with run_worker({"index": handler_of(handle)}):
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert (await jobs.get_job(scope, lost)).state is JobState.SUCCEEDED
    async with database.transaction_without_scope() as transaction:
        rows = await transaction.fetch("SELECT dedupe_key FROM pgqueuer")
    assert [row["dedupe_key"] for row in rows] == [str(in_line)]


async def test_a_place_in_line_without_a_job_to_run_is_cleared(
    database: Database, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    ended = await enqueue(scope, "index")
    async with database.transaction(scope) as transaction:
        await transaction.execute(
            "UPDATE jobs SET state = 'succeeded', finished_at = now() WHERE id = $1", ended
        )
    await enqueue(scope, "index")
    ran: list[UUID] = []
    done = asyncio.Event()

    async def handle(context: JobContext) -> None:
        ran.append(context.job_id)
        done.set()

    async with run_worker({"index": handler_of(handle)}):
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert ended not in ran
    async with database.transaction_without_scope() as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM pgqueuer") == 0


async def test_an_operators_retry_survives_the_late_removal_of_the_old_row(
    database: Database, jobs: JobService, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    queries = DispatchQueries(database, {"index": 1})
    job_id = await enqueue(scope, "index")
    (row,) = await dequeue(queries, uuid4(), NEVER)
    async with database.transaction(scope) as transaction:
        await transaction.execute(
            "UPDATE jobs SET state = 'dead', finished_at = now(), error_code = 'x', error_message = ''"
        )
    await jobs.retry(job_id)
    await queries.log_jobs([(row, "successful", None)])
    (again,) = await dequeue(queries, uuid4(), NEVER)
    assert again.payload == job_id.bytes


async def test_finished_jobs_are_kept_for_their_time_and_no_longer(
    database: Database, jobs: JobService, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    kept: list[UUID] = [await enqueue(scope, "index")]
    for state, days, stays in [
        ("succeeded", 6, True),
        ("succeeded", 8, False),
        ("dead", 89, True),
        ("dead", 91, False),
    ]:
        job_id = await enqueue(scope, "index")
        async with database.transaction(scope) as transaction:
            await transaction.execute(
                "UPDATE jobs SET state = $2, finished_at = now() - make_interval(days => $3),"
                " error_code = 'x', error_message = '' WHERE id = $1",
                job_id,
                state,
                days,
            )
        if stays:
            kept.append(job_id)
    async with database.transaction_without_scope() as transaction:
        assert await JobRepository().prune_jobs(transaction, 100) == 2
    assert sorted(kept) == [job.id for job in await jobs.list_jobs(scope)]
