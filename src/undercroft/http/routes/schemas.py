"""Schemas of records: named, versioned JSON Schemas, with how their fields are kept."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import KnownRecordReader, SchemaWriter
from undercroft.http.conditional import (
    IfMatch,
    IfNoneMatch,
    expected_revisions,
    is_known,
    require_revisions,
    revision_tag,
)
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.json_bodies import documented_model, read_model
from undercroft.http.objects import DamagedSchemaObject, Deleted, Page, SchemaObject, VersionPage
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.schema_views import (
    AfterVersion,
    Version,
    answer_schema,
    describe_schema,
    page_of_versions,
    render_schemas,
    require_schema_id,
    schema_headers,
)
from undercroft.http.wire import RequestBody
from undercroft.kit.ids import render_id
from undercroft.vault.schemas.models import SCHEMA_PREFIX, Definition

router = APIRouter(tags=["schemas"], route_class=NativeRoute)

_Pointers = Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=32)]


class SchemaVersion(RequestBody):
    """A version of a schema. Fields are JSON Pointers."""

    definition: Annotated[
        dict[str, Any], Field(alias="schema", description="A JSON Schema, draft 2020-12.")
    ]
    plain_fields: _Pointers = Field(default_factory=list)
    sensitive_fields: _Pointers = Field(default_factory=list)
    indexed_fields: _Pointers = Field(default_factory=list)
    personal_fields: _Pointers = Field(default_factory=list)

    def parsed(self) -> Definition:
        """The same for the service."""
        return Definition(
            self.definition,
            tuple(self.plain_fields),
            tuple(self.sensitive_fields),
            tuple(self.indexed_fields),
            tuple(self.personal_fields),
        )


class CreateSchema(SchemaVersion):
    """A new schema."""

    name: Annotated[str, Field(min_length=1, max_length=256)]


@router.post(
    "/v1/schemas",
    summary="Create a schema",
    status_code=201,
    response_model=SchemaObject,
    responses={**answers(201, "The schema.", "ETag", "Location"), **errors(410, 415)},
    openapi_extra=documented_model(CreateSchema),
)
async def create_schema(
    request: Request, caller: SchemaWriter, services: ServicesDependency
) -> Response:
    """Everybody in the tenant may use a schema; who made it alone may change it."""
    body = await read_model(request, CreateSchema)
    schema = await services.vault.schemas.create(caller, body.name, body.parsed())
    made = answer_schema(schema)
    made.status_code = 201
    made.headers["Location"] = f"/v1/schemas/{render_id(SCHEMA_PREFIX, schema.id)}"
    return made


@router.get(
    "/v1/schemas",
    summary="List schemas",
    response_model=Page[SchemaObject | DamagedSchemaObject],
    responses=errors(404, 410),
)
async def list_schemas(
    caller: KnownRecordReader, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> Response:
    """The latest versions of the tenant's schemas, oldest first; large ones make a page shorter than the limit."""
    place = None if after is None else require_schema_id(after, "after")
    page = await services.vault.schemas.list_schemas(caller, place, limit)
    return JSONResponse(render_schemas(page))


@router.get(
    "/v1/schemas/{schema_id}",
    summary="Get a schema",
    response_model=SchemaObject,
    responses={
        **answers(200, "The schema.", "ETag"),
        **answers(304, "The caller has this version.", "ETag"),
        **errors(404, 410),
    },
)
async def get_schema(
    schema_id: str,
    caller: KnownRecordReader,
    services: ServicesDependency,
    version: Version = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The latest version of a schema, or another. Its ETag is its version."""
    found = await services.vault.schemas.get(caller, require_schema_id(schema_id), version)
    if is_known(revision_tag(found.version), if_none_match):
        return Response(status_code=304, headers=schema_headers(found))
    return answer_schema(found)


@router.get(
    "/v1/schemas/{schema_id}/versions",
    summary="List a schema's versions",
    response_model=VersionPage[SchemaObject | DamagedSchemaObject],
    responses=errors(404, 410),
)
async def list_schema_versions(
    schema_id: str,
    caller: KnownRecordReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: AfterVersion = 0,
) -> Response:
    """All versions of a schema, oldest first, as long as they fit a page. ``after`` is a version's number."""
    page = await services.vault.schemas.list_versions(
        caller, require_schema_id(schema_id), after, limit
    )
    shown = page_of_versions(
        [describe_schema(schema) for schema in page.schemas], len(page.schemas)
    )
    return JSONResponse({**shown, "has_more": page.has_more})


@router.put(
    "/v1/schemas/{schema_id}",
    summary="Add a version to a schema",
    response_model=SchemaObject,
    responses={
        **answers(200, "The schema at its new version.", "ETag"),
        **errors(404, 410, 412, 415, 428),
    },
    openapi_extra=documented_model(SchemaVersion),
)
async def add_schema_version(
    schema_id: str,
    request: Request,
    caller: SchemaWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
) -> Response:
    """Records stay with the version that they were checked against until they are migrated."""
    versions = require_revisions(if_match)
    body = await read_model(request, SchemaVersion)
    schema = await services.vault.schemas.add_version(
        caller, require_schema_id(schema_id), body.parsed(), versions
    )
    return answer_schema(schema)


@router.delete(
    "/v1/schemas/{schema_id}",
    summary="Delete a schema",
    response_model=Deleted,
    responses=errors(404, 409, 410, 412),
)
async def delete_schema(
    schema_id: str, caller: SchemaWriter, services: ServicesDependency, if_match: IfMatch = None
) -> dict[str, Any]:
    """Only while there is no record of it."""
    versions = expected_revisions(if_match)
    await services.vault.schemas.delete(caller, require_schema_id(schema_id), versions)
    return {"id": schema_id, "object": "schema.deleted", "deleted": True}
