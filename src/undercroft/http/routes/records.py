"""Records: JSON objects under a schema, each version kept, every change made from a version that its maker has read."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import RecordReader, RecordWriter
from undercroft.http.conditional import (
    IfMatch,
    IfNoneMatch,
    is_known,
    require_revisions,
    revision_tag,
)
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.json_bodies import (
    documented_body,
    documented_model,
    read_json,
    read_model,
    require_media_type,
)
from undercroft.http.objects import (
    DamagedRecordObject,
    Deleted,
    Page,
    RecordObject,
    RecordVersionObject,
    VersionPage,
)
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.record_views import (
    answer_record,
    answer_records,
    record_headers,
    render_record_version,
    require_record_id,
)
from undercroft.http.schema_views import (
    AfterVersion,
    Version,
    page_of_versions,
    require_schema_id,
)
from undercroft.http.wire import RequestBody, StorableText
from undercroft.kit.ids import render_id
from undercroft.vault.records.changes import Change
from undercroft.vault.records.models import (
    RECORD_PREFIX,
    Condition,
    Precondition,
)
from undercroft.vault.records.patches import apply_merge_patch, apply_patch, check_patch

router = APIRouter(tags=["records"], route_class=NativeRoute)

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

LockToken = Annotated[
    StorableText | None,
    Header(max_length=200, description="The token of the lock that the caller holds."),
]

_OPERATIONS: Final[Mapping[str, Any]] = {
    "type": "array",
    "maxItems": 1000,
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": {"type": "string"},
            "from": {"type": "string"},
            "value": {},
        },
    },
}
_RECORD: Final = answers(200, "The record; its ETag is its version.", "ETag")


class CreateRecord(RequestBody):
    """A new record."""

    schema_id: Annotated[str, Field(alias="schema", max_length=64)]
    data: dict[str, Any]


class ReplaceRecord(RequestBody):
    """A record's new data."""

    data: dict[str, Any]


class SearchRecords(RequestBody):
    """Which records to find: those whose fields have all of these values."""

    fields: Annotated[
        dict[Annotated[str, Field(max_length=256)], Any], Field(min_length=1, max_length=16)
    ]
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    after: Annotated[str, Field(max_length=64)] | None = None


@router.post(
    "/v1/records",
    summary="Create a record",
    status_code=201,
    response_model=RecordObject,
    responses={**answers(201, "The record.", "ETag", "Location"), **errors(404, 410, 415)},
    openapi_extra=documented_model(CreateRecord),
)
async def create_record(
    request: Request, caller: RecordWriter, services: ServicesDependency
) -> Response:
    """Make a record under the latest version of a schema."""
    body = await read_model(request, CreateRecord)
    schema_id = require_schema_id(body.schema_id, "schema")
    record = await services.vault.records.create(caller, schema_id, body.data)
    made = answer_record(record)
    made.status_code = 201
    made.headers["Location"] = f"/v1/records/{render_id(RECORD_PREFIX, record.id)}"
    return made


@router.get(
    "/v1/records",
    summary="List records",
    response_model=Page[RecordObject | DamagedRecordObject],
    responses=errors(404, 410),
)
async def list_records(
    caller: RecordReader,
    services: ServicesDependency,
    schema: Annotated[str | None, Query(max_length=64, description="Of this schema only.")] = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """The caller's records and those that they may search, oldest first; large ones make a page short."""
    page = await services.vault.records.list_records(
        caller,
        None if schema is None else require_schema_id(schema, "schema"),
        None if after is None else require_record_id(after, "after"),
        limit,
    )
    return answer_records(page)


@router.post(
    "/v1/schemas/{schema_id}/search",
    summary="Find records",
    response_model=Page[RecordObject | DamagedRecordObject],
    responses=errors(404, 410, 415),
    openapi_extra=documented_model(SearchRecords),
)
async def search_records(
    schema_id: str, request: Request, caller: RecordReader, services: ServicesDependency
) -> Response:
    """Records with these values, oldest first: the caller's, and those that they may search by these fields.

    Large ones make a page shorter than the limit. By POST, as logs keep paths.
    """
    body = await read_model(request, SearchRecords)
    page = await services.vault.records.search(
        caller,
        require_schema_id(schema_id),
        [Condition(field, value) for field, value in body.fields.items()],
        None if body.after is None else require_record_id(body.after, "after"),
        body.limit,
    )
    return answer_records(page)


@router.get(
    "/v1/records/{record_id}",
    summary="Get a record",
    response_model=RecordObject,
    responses={
        **_RECORD,
        **answers(304, "The caller has this version.", "ETag"),
        **errors(404, 410),
    },
)
async def get_record(
    record_id: str,
    caller: RecordReader,
    services: ServicesDependency,
    version: Version = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The latest version of a record, or another."""
    record = await services.vault.records.get(caller, require_record_id(record_id), version)
    # What a kept copy shows of another's record may be less than its reader sees by now, at the same version.
    if record.fields is None and is_known(revision_tag(record.version), if_none_match):
        return Response(status_code=304, headers=record_headers(record))
    return answer_record(record)


@router.get(
    "/v1/records/{record_id}/versions",
    summary="List a record's versions",
    response_model=VersionPage[RecordVersionObject],
    responses=errors(404),
)
async def list_record_versions(
    record_id: str,
    caller: RecordReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: AfterVersion = 0,
) -> dict[str, Any]:
    """Which versions a record has, oldest first. ``after`` is a version's number."""
    versions = await services.vault.records.list_versions(
        caller, require_record_id(record_id), after, limit + 1
    )
    return page_of_versions(
        [render_record_version(record_id, version) for version in versions], limit
    )


@router.put(
    "/v1/records/{record_id}",
    summary="Replace a record",
    response_model=RecordObject,
    responses={**_RECORD, **errors(404, 409, 410, 412, 415, 423, 428)},
    openapi_extra=documented_model(ReplaceRecord),
)
async def replace_record(
    record_id: str,
    request: Request,
    caller: RecordWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
    lock_token: LockToken = None,
) -> Response:
    """Put other data in a record's place, as its next version."""
    precondition = Precondition(require_revisions(if_match), lock_token)
    body = await read_model(request, ReplaceRecord)
    record = await services.vault.records.replace(
        caller, require_record_id(record_id), precondition, body.data
    )
    return answer_record(record)


@router.patch(
    "/v1/records/{record_id}",
    summary="Patch a record",
    response_model=RecordObject,
    responses={**_RECORD, **errors(404, 409, 410, 412, 415, 423, 428)},
    openapi_extra=documented_body((MERGE_PATCH, {"type": "object"}), (JSON_PATCH, _OPERATIONS)),
)
async def patch_record(
    record_id: str,
    request: Request,
    caller: RecordWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
    lock_token: LockToken = None,
) -> Response:
    """Change some of a record's data, as its next version. Its paths begin in ``data``: ``/name``."""
    precondition = Precondition(require_revisions(if_match), lock_token)
    change = await _read_change(request)
    record = await services.vault.records.update(
        caller, require_record_id(record_id), precondition, change
    )
    return answer_record(record)


@router.delete(
    "/v1/records/{record_id}",
    summary="Delete a record",
    response_model=Deleted,
    responses=errors(404, 412, 423, 428),
)
async def delete_record(
    record_id: str,
    caller: RecordWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
    lock_token: LockToken = None,
) -> dict[str, Any]:
    """Delete a record with all its versions, and destroy its keys."""
    precondition = Precondition(require_revisions(if_match), lock_token)
    await services.vault.records.delete(caller, require_record_id(record_id), precondition)
    return {"id": record_id, "object": "record.deleted", "deleted": True}


async def _read_change(request: Request) -> Change:
    media_type = require_media_type(request, MERGE_PATCH, JSON_PATCH)
    patch = await read_json(request, media_type)
    if media_type == JSON_PATCH:
        return partial(_apply_operations, operations=check_patch(patch))
    return partial(_merge, patch=patch)


def _merge(data: Mapping[str, Any], patch: object) -> object:
    return cast("object", apply_merge_patch(data, patch))


def _apply_operations(data: Mapping[str, Any], operations: Any) -> object:  # noqa: ANN401 - checked before
    return cast("object", apply_patch(data, operations))
