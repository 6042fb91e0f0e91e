import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import pytest

from tests.conftest import MakeScope
from tests.jobs.conftest import PATIENCE, Enqueue
from undercroft.jobs.errors import DuplicateJobError
from undercroft.jobs.models import JobState
from undercroft.jobs.service import JobQueue, JobService
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection


async def dispatched(database: Database) -> list[UUID]:
    async with database.transaction_without_scope() as transaction:
        rows = await transaction.fetch("SELECT payload FROM pgqueuer ORDER BY id")
    return [UUID(bytes=row["payload"]) for row in rows]


async def end_job(database: Database, scope: Scope, job_id: UUID, state: JobState) -> None:
    async with database.transaction(scope) as transaction:
        await transaction.execute(
            "UPDATE jobs SET state = $2, finished_at = now(), error_code = 'tested', error_message = '' WHERE id = $1",
            job_id,
            state,
        )
        await transaction.execute("DELETE FROM pgqueuer WHERE dedupe_key = $1::text", str(job_id))


@asynccontextmanager
async def rolled_back(database: Database, scope: Scope) -> AsyncGenerator[Transaction]:
    """A transaction whose block fails at its end."""
    with suppress(ZeroDivisionError):
        async with database.transaction(scope) as transaction:
            yield transaction
            raise ZeroDivisionError


async def until_blocked(observer: AnyConnection, pid: int) -> None:
    """Return once the connection waits for a lock. Every look is a round trip, so this does not spin."""
    async with asyncio.timeout(PATIENCE):
        while not await observer.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
            pass


async def test_a_job_exists_if_and_only_if_its_transaction_commits(
    database: Database, queue: JobQueue, jobs: JobService, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    async with rolled_back(database, scope) as transaction:
        await queue.enqueue(transaction, scope, "index", {})
    assert await jobs.list_jobs(scope) == []
    assert await dispatched(database) == []

    async with database.transaction(scope) as transaction:
        job_id = await queue.enqueue(transaction, scope, "index", {"blob": "b1"}, max_attempts=3)
    job = await jobs.get_job(scope, job_id)
    assert (job.state, job.payload, job.attempts, job.max_attempts, job.failure) == (
        JobState.QUEUED,
        {"blob": "b1"},
        0,
        3,
        None,
    )
    assert await dispatched(database) == [job_id]


@pytest.mark.parametrize("first_commits", [True, False])
async def test_two_enqueues_of_one_key_at_once_make_one_job(
    first_commits: bool,
    database: Database,
    queue: JobQueue,
    jobs: JobService,
    make_scope: MakeScope,
) -> None:
    scope = await make_scope()

    async def enqueue_second(ready: asyncio.Future[int]) -> UUID:
        async with database.transaction(scope) as transaction:
            ready.set_result(await transaction.fetchval("SELECT pg_backend_pid()"))
            return await queue.enqueue(transaction, scope, "index", {}, dedupe_key="b1")

    opened = database.transaction(scope) if first_commits else rolled_back(database, scope)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with (
        database.transaction_without_scope() as observer,
        asyncio.TaskGroup() as tasks,
        opened as transaction,
    ):
        first = await queue.enqueue(transaction, scope, "index", {}, dedupe_key="b1")
        second = tasks.create_task(enqueue_second(ready))
        await until_blocked(observer, await ready)
    assert (second.result() == first) is first_commits
    assert [job.id for job in await jobs.list_jobs(scope)] == [second.result()]
    assert await dispatched(database) == [second.result()]


async def test_a_key_is_free_again_once_its_job_has_ended(
    database: Database, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    first = await enqueue(scope, "index", dedupe_key="b1")
    assert await enqueue(scope, "index", dedupe_key="b1") == first
    other_kind = await enqueue(scope, "erase", dedupe_key="b1")
    other_tenant = await enqueue(await make_scope(), "index", dedupe_key="b1")
    no_key = [await enqueue(scope, "index") for _ in range(2)]
    assert len({first, other_kind, other_tenant, *no_key}) == 5
    await end_job(database, scope, first, JobState.SUCCEEDED)
    assert await enqueue(scope, "index", dedupe_key="b1") != first


async def test_only_the_owner_sees_a_job(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    owner = await make_scope()
    colleague = await make_scope(owner.tenant_id)
    stranger = await make_scope()
    job_id = await enqueue(owner, "index")
    assert (await jobs.get_job(owner, job_id)).owner_id == owner.principal_id
    for other in (colleague, stranger):
        with pytest.raises(NotFoundError) as hidden:
            await jobs.get_job(other, job_id)
        absent = IdSource().new()
        with pytest.raises(NotFoundError) as missing:
            await jobs.get_job(other, absent)
        assert hidden.value.message.replace(job_id.hex, absent.hex) == missing.value.message
        assert await jobs.list_jobs(other) == []


async def test_another_tenant_cannot_touch_a_job(
    database: Database, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    owner, stranger = await make_scope(), await make_scope()
    await enqueue(owner, "index")
    async with database.transaction(stranger) as transaction:
        assert await transaction.fetch("SELECT id FROM jobs") == []
        assert await transaction.execute("UPDATE jobs SET attempts = 9") == "UPDATE 0"
    async with database.transaction_without_scope() as transaction:
        assert await transaction.fetch("SELECT id FROM jobs") == []


async def test_lists_page_by_page_and_by_state(
    database: Database, jobs: JobService, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    ids = sorted([await enqueue(scope, "index") for _ in range(5)])
    await end_job(database, scope, ids[1], JobState.SUCCEEDED)
    assert [job.id for job in await jobs.list_jobs(scope, limit=2)] == ids[:2]
    assert [job.id for job in await jobs.list_jobs(scope, after=ids[1])] == ids[2:]
    succeeded = await jobs.list_jobs(scope, state=JobState.SUCCEEDED)
    assert [job.id for job in succeeded] == [ids[1]]


async def test_the_operator_lists_counts_and_retries_the_dead_of_every_tenant(
    database: Database, jobs: JobService, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    scopes = [await make_scope() for _ in range(2)]
    dead = sorted([await enqueue(scope, "index") for scope in scopes for _ in range(2)])
    alive = await enqueue(scopes[0], "index")
    for scope in scopes:
        for job in await jobs.list_jobs(scope):
            if job.id != alive:
                await end_job(database, scope, job.id, JobState.DEAD)
    assert [job.id for job in await jobs.list_dead()] == dead
    assert [job.id for job in await jobs.list_dead(after=dead[0], limit=2)] == dead[1:3]
    counts = {(count.kind, count.state): count.count for count in await jobs.count()}
    assert counts == {("index", JobState.QUEUED): 1, ("index", JobState.DEAD): 4}

    await jobs.retry(dead[0])
    assert dead[0] not in [job.id for job in await jobs.list_dead()]
    assert set(await dispatched(database)) == {alive, dead[0]}
    for not_dead in (dead[0], alive, IdSource().new()):
        with pytest.raises(NotFoundError):
            await jobs.retry(not_dead)


async def test_a_dead_job_that_was_replaced_is_not_retried(
    database: Database, jobs: JobService, enqueue: Enqueue, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    dead = await enqueue(scope, "index", dedupe_key="b1")
    await end_job(database, scope, dead, JobState.DEAD)
    successor = await enqueue(scope, "index", dedupe_key="b1")
    with pytest.raises(DuplicateJobError):
        await jobs.retry(dead)
    assert await dispatched(database) == [successor]
