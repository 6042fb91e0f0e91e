"""A content that could not be indexed can always be tried again: by its owner, and by the operator."""

import asyncio

from tests.conftest import MakeScope
from tests.shelf import Shelf
from undercroft.jobs.errors import FencedError
from undercroft.jobs.handler import JobContext
from undercroft.jobs.models import JobFailure
from undercroft.jobs.repository import JobRepository
from undercroft.jobs.service import JobService
from undercroft.kit.scope import Scope
from undercroft.retrieval.collections.models import MemberStatus

BROKEN_PDF = b"%PDF-1.7\nnothing of what a PDF has"
FAILURE = JobFailure("attempts_exhausted", "The job ended its worker process each time it ran.")


async def test_a_file_added_again_before_its_failed_job_has_ended_is_not_left_waiting(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "broken.pdf", BROKEN_PDF)
    collection = await shelf.collections.create(ann, "papers", {}, [document])
    claim = await shelf.claim(ann)
    assert claim is not None
    # The handler has recorded the failure; the worker has yet to record the job's end.
    await shelf.tasks.index_blob(shelf.context(claim))
    again = await shelf.collections.add(ann, collection.id, document, {})
    assert again.status is MemberStatus.IN_PROGRESS
    async with shelf.database.transaction(claim) as transaction:
        assert await JobRepository().complete_job(transaction, claim)
    await shelf.run_jobs(ann)
    member = await shelf.collections.get_member(ann, collection.id, document)
    assert member.status is MemberStatus.FAILED


async def test_an_operator_s_retry_of_a_dead_job_indexes_its_content(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "mill.txt", "The mill has stood empty since 1921.")
    collection = await shelf.collections.create(ann, "papers", {}, [document])
    context = await bury(shelf, ann)
    member = await shelf.collections.get_member(ann, collection.id, document)
    assert member.status is MemberStatus.FAILED
    await JobService(shelf.database).retry(context.job_id)
    await shelf.run_jobs(ann)
    member = await shelf.collections.get_member(ann, collection.id, document)
    assert member.status is MemberStatus.COMPLETED
    assert member.error_code is None


async def test_an_attempt_that_was_overtaken_before_it_began_leaves_the_failure(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "mill.txt", "The mill has stood empty since 1921.")
    collection = await shelf.collections.create(ann, "papers", {}, [document])
    stalled = await shelf.claim(ann)
    assert stalled is not None
    await bury(shelf, ann, state="running")
    outcome = await asyncio.gather(
        shelf.tasks.index_blob(shelf.context(stalled)), return_exceptions=True
    )
    assert isinstance(outcome[0], FencedError)
    member = await shelf.collections.get_member(ann, collection.id, document)
    assert member.status is MemberStatus.FAILED


async def bury(shelf: Shelf, scope: Scope, state: str = "queued") -> JobContext:
    """Have the tenant's job given up, as the worker does it."""
    claim = await shelf.claim(scope, state)
    assert claim is not None
    async with shelf.database.transaction(claim) as transaction:
        assert await JobRepository().bury_job(transaction, claim, FAILURE)
        await shelf.tasks.record_death(transaction, claim, claim.payload, FAILURE)
    return shelf.context(claim)
