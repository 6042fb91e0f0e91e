"""Health, readiness and metrics: for the machinery around the service, so they need no key."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from undercroft.http.deps import ServicesDependency, operation_id
from undercroft.http.openai.contract import PROBLEM

router = APIRouter(
    tags=["operations"],
    generate_unique_id_function=operation_id,
    responses={
        400: {"description": "The host is not one that is served.", "content": PROBLEM},
        413: {"description": "The body is larger than the limit.", "content": PROBLEM},
    },
)


@router.get("/healthz", summary="Whether the process lives")
async def get_health() -> dict[str, str]:
    """Always 200 while the event loop turns."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether requests can be served",
    responses={
        503: {
            "description": "Something is missing; the body says what.",
            "content": {"application/json": {}},
        }
    },
)
async def get_readiness(services: ServicesDependency) -> JSONResponse:
    """200 when the database is migrated, the models are loaded and a worker runs."""
    report = await services.readiness.report()
    is_ready = all(state == "ok" for state in report.values())
    body: dict[str, Any] = {"status": "ready" if is_ready else "starting", "checks": report}
    return JSONResponse(body, 200 if is_ready else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def get_metrics(services: ServicesDependency) -> Response:
    """Counts and times of this process, the depth of the queue, and how far the ledger is behind."""
    services.telemetry.queue_depth.clear()
    for jobs in await services.jobs.count():
        services.telemetry.queue_depth.labels(jobs.kind, jobs.state).set(jobs.count)
    pending = await services.proof.sequencer.measure_pending()
    age = (
        timedelta()
        if pending.oldest is None
        else max(timedelta(), services.clock.now() - pending.oldest)
    )
    services.telemetry.ledger_pending_entries.set(pending.count)
    services.telemetry.ledger_oldest_pending_seconds.set(age.total_seconds())
    return Response(
        services.telemetry.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
