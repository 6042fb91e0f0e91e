"""Records as the native routes show them."""

from uuid import UUID

from starlette.responses import JSONResponse, Response

from undercroft.http.conditional import revision_tag
from undercroft.http.schema_views import damage
from undercroft.http.wire import JsonObject, list_of, render_time, require_id
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import user_reference
from undercroft.vault.records.models import (
    RECORD_PREFIX,
    DamagedRecord,
    Record,
    RecordPage,
    RecordVersion,
)
from undercroft.vault.schemas.models import SCHEMA_PREFIX


def require_record_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(RECORD_PREFIX, "record", text, param)


def answer_record(record: Record) -> Response:
    """A version of a record. Written at once: the framework would look at every value before it writes it."""
    return JSONResponse(render_record(record), headers=record_headers(record))


def answer_records(page: RecordPage) -> Response:
    """A page of records, written at once for the same reason."""
    return JSONResponse(render_records(page))


def render_records(page: RecordPage) -> JsonObject:
    """A page of records."""
    return list_of([_describe_record(record) for record in page.records], has_more=page.has_more)


def record_headers(record: Record) -> dict[str, str]:
    """Its entity tag; no shared cache may keep it, and every use of a kept one asks here first."""
    return {"ETag": revision_tag(record.version), "Cache-Control": "private, no-cache"}


def render_record(record: Record) -> JsonObject:
    """A version of a record."""
    shown = {} if record.fields is None else {"fields": sorted(record.fields)}
    return {
        "id": render_id(RECORD_PREFIX, record.id),
        "object": "record",
        "schema": render_id(SCHEMA_PREFIX, record.schema_id),
        "schema_version": record.schema_version,
        "version": record.version,
        "latest_version": record.latest,
        "owner": user_reference(record.owner_id),
        "data": record.data,
        "created_at": render_time(record.created_at),
        "updated_at": render_time(record.updated_at),
    } | shown


def _describe_record(record: Record | DamagedRecord) -> JsonObject:
    """A record in a list: of one that does not open, what its row says."""
    if isinstance(record, Record):
        return render_record(record)
    return {
        "id": render_id(RECORD_PREFIX, record.id),
        "object": "record",
        "schema": render_id(SCHEMA_PREFIX, record.schema_id),
        "schema_version": record.schema_version,
        "version": record.version,
        "latest_version": record.version,
        "owner": user_reference(record.owner_id),
        "data": None,
        "error": damage(),
        "created_at": render_time(record.created_at),
        "updated_at": render_time(record.updated_at),
    }


def render_record_version(record_id: str, version: RecordVersion) -> JsonObject:
    """That a record has a version."""
    return {
        "id": record_id,
        "object": "record.version",
        "version": version.version,
        "schema_version": version.schema_version,
        "author": user_reference(version.author_id),
        "created_at": render_time(version.created_at),
    }
