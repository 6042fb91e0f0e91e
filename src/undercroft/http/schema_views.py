"""Schemas as the native routes show them, and how versions are asked for."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.responses import JSONResponse, Response

from undercroft.http.conditional import revision_tag
from undercroft.http.wire import JsonObject, list_of, render_time, require_id
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import user_reference
from undercroft.vault.models import LARGEST_VERSION
from undercroft.vault.schemas.models import SCHEMA_PREFIX, DamagedSchema, Schema, SchemaPage

Version = Annotated[int | None, Query(ge=1, le=LARGEST_VERSION, description="Not the latest one.")]
AfterVersion = Annotated[
    int, Query(alias="after", ge=0, le=LARGEST_VERSION, description="The last version known.")
]


def require_schema_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(SCHEMA_PREFIX, "schema", text, param)


def page_of_versions(versions: Sequence[JsonObject], limit: int) -> JsonObject:
    """A list of one object's versions over one more than was asked for; the next page is after the last number."""
    return {
        "object": "list",
        "data": list(versions[:limit]),
        "has_more": len(versions) > limit,
    }


def damage() -> JsonObject:
    """What an item of a list says of itself when it does not open; alone it would be answered with that error."""
    error = DecryptionError()
    return {"code": error.code, "message": error.message}


def answer_schema(schema: Schema) -> Response:
    """A version of a schema. Written at once: the framework would look at every value before it writes it."""
    return JSONResponse(_render_schema(schema), headers=schema_headers(schema))


def schema_headers(schema: Schema) -> dict[str, str]:
    """Its entity tag; no shared cache may keep it, and every use of a kept one asks here first."""
    return {"ETag": revision_tag(schema.version), "Cache-Control": "private, no-cache"}


def _render_schema(schema: Schema) -> JsonObject:
    return {
        "id": render_id(SCHEMA_PREFIX, schema.id),
        "object": "schema",
        "name": schema.name,
        "version": schema.version,
        "latest_version": schema.latest,
        "owner": user_reference(schema.owner_id),
        "schema": schema.definition.schema,
        "plain_fields": list(schema.definition.plain_fields),
        "sensitive_fields": list(schema.definition.sensitive_fields),
        "indexed_fields": list(schema.definition.indexed_fields),
        "personal_fields": list(schema.definition.personal_fields),
        "created_at": render_time(schema.created_at),
    }


def render_schemas(page: SchemaPage) -> JsonObject:
    """A page of schemas."""
    return list_of([describe_schema(schema) for schema in page.schemas], has_more=page.has_more)


def describe_schema(schema: Schema | DamagedSchema) -> JsonObject:
    """A schema in a list: of one that does not open, what its row says."""
    if isinstance(schema, Schema):
        return _render_schema(schema)
    return {
        "id": render_id(SCHEMA_PREFIX, schema.id),
        "object": "schema",
        "name": None,
        "version": schema.version,
        "latest_version": schema.latest,
        "owner": user_reference(schema.owner_id),
        "schema": None,
        "error": damage(),
        "created_at": render_time(schema.created_at),
    }
