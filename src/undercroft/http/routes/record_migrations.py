"""Migrations of records to another version of their schema."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse

from undercroft.http.callers import RecordReader, SchemaWriter
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.json_bodies import documented_model, read_model
from undercroft.http.objects import DryRunObject, MigrationObject
from undercroft.http.openai.contract import answers, errors
from undercroft.http.schema_views import require_schema_id
from undercroft.http.wire import JsonObject, RequestBody, render_time, require_id
from undercroft.jobs.service import JOB_PREFIX
from undercroft.kit.ids import render_id
from undercroft.vault.models import LARGEST_VERSION
from undercroft.vault.records.models import MIGRATION_PREFIX, RECORD_PREFIX, DryRun, Migration
from undercroft.vault.records.patches import check_patch
from undercroft.vault.schemas.models import SCHEMA_PREFIX

router = APIRouter(tags=["schemas"], route_class=NativeRoute)


class MigrateRecords(RequestBody):
    """To which version to take the caller's records, and what to change in them first."""

    to_version: Annotated[int, Field(ge=1, le=LARGEST_VERSION)] | None = None
    patch: Annotated[
        list[dict[str, Any]], Field(max_length=1000, description="A JSON Patch of each record.")
    ] = Field(default_factory=list)
    dry_run: bool = False


@router.post(
    "/v1/schemas/{schema_id}/migrations",
    summary="Migrate records",
    response_model=DryRunObject,
    responses={
        **answers(200, "What a dry run found."),
        202: {
            **answers(202, "A migration that has begun.", "Location")[202],
            "model": MigrationObject,
        },
        **errors(404, 410, 415),
    },
    openapi_extra=documented_model(MigrateRecords),
)
async def migrate_records(
    schema_id: str, request: Request, caller: SchemaWriter, services: ServicesDependency
) -> Any:  # noqa: ANN401 - a dry run, or the framework's response
    """Take the caller's records of a schema to a version of it. A dry run only says which ones could not follow."""
    body = await read_model(request, MigrateRecords)
    place = (require_schema_id(schema_id), body.to_version, check_patch(body.patch))
    if body.dry_run:
        return _render_dry_run(await services.vault.record_migrations.try_out(caller, *place))
    begun = _render(await services.vault.record_migrations.start(caller, *place))
    location = f"/v1/schemas/{schema_id}/migrations/{begun['id']}"
    return JSONResponse(begun, 202, {"Location": location})


@router.get(
    "/v1/schemas/{schema_id}/migrations/{migration_id}",
    summary="Get a migration",
    response_model=MigrationObject,
    responses=errors(404),
)
async def get_migration(
    schema_id: str, migration_id: str, caller: RecordReader, services: ServicesDependency
) -> dict[str, Any]:
    """How far a migration of the caller's is. Records that could not follow stay at their version."""
    key = require_id(MIGRATION_PREFIX, "migration", migration_id)
    return _render(
        await services.vault.record_migrations.get(caller, require_schema_id(schema_id), key)
    )


def _render_dry_run(run: DryRun) -> JsonObject:
    return {
        "object": "schema.migration.dry_run",
        "valid": run.valid,
        "invalid": run.invalid,
        "complete": run.is_complete,
        "failures": [
            {"record": render_id(RECORD_PREFIX, failure.record_id), "message": failure.message}
            for failure in run.failures
        ],
    }


def _render(migration: Migration) -> JsonObject:
    finished = migration.finished_at
    job = migration.job_id
    return {
        "id": render_id(MIGRATION_PREFIX, migration.id),
        "object": "schema.migration",
        "schema": render_id(SCHEMA_PREFIX, migration.schema_id),
        "to_version": migration.to_version,
        "migrated": migration.migrated,
        "failed": migration.failed,
        "failed_records": [render_id(RECORD_PREFIX, key) for key in migration.failed_record_ids],
        "job": None if job is None else render_id(JOB_PREFIX, job),
        "created_at": render_time(migration.created_at),
        "finished_at": render_time(finished),
    }
