"""Background jobs: their owner reads how far they are; an operator retries dead ones on the command line."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from undercroft.http.callers import DocumentReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import JobObject, Page
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import JsonObject, page_of, render_time, require_id
from undercroft.jobs.models import Job, JobState
from undercroft.jobs.service import JOB_PREFIX
from undercroft.kit.ids import render_id

router = APIRouter(tags=["jobs"], route_class=NativeRoute)


@router.get("/v1/jobs", summary="List jobs", response_model=Page[JobObject], responses=errors(404))
async def list_jobs(
    caller: DocumentReader,
    services: ServicesDependency,
    state: JobState | None = None,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """The caller's jobs, oldest first."""
    jobs = await services.jobs.list_jobs(
        caller,
        state=state,
        after=None if after is None else _require_id(after, "after"),
        limit=limit + 1,
    )
    return page_of([_render(job) for job in jobs], limit)


@router.get(
    "/v1/jobs/{job_id}", summary="Get a job", response_model=JobObject, responses=errors(404)
)
async def get_job(
    job_id: str, caller: DocumentReader, services: ServicesDependency
) -> dict[str, Any]:
    """One job of the caller's, with its progress."""
    return _render(await services.jobs.get_job(caller, _require_id(job_id)))


def _render(job: Job) -> JsonObject:
    error = None
    if job.failure is not None:
        error = {"code": job.failure.code, "message": job.failure.message}
    return {
        "id": render_id(JOB_PREFIX, job.id),
        "object": "job",
        "kind": job.kind,
        "state": job.state,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "progress": {"done": job.progress_done, "total": job.progress_total},
        "error": error,
        "created_at": render_time(job.created_at),
        "finished_at": render_time(job.finished_at),
    }


def _require_id(text: str, param: str | None = None) -> UUID:
    return require_id(JOB_PREFIX, "job", text, param)
