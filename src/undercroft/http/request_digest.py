"""What a request says, in one digest, however it is spelt."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from fastapi import Request, params
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile

from undercroft.http.json_bodies import JSON, StrictRequest
from undercroft.vault.intake import Incoming


async def digest_said(said: Mapping[str, Any]) -> bytes:
    """SHA-256 of what is said: of values, in whatever order their names come."""
    return await asyncio.to_thread(_digest, said)


async def digest_request(route: APIRoute, request: Request, purpose: str | None) -> bytes:
    """SHA-256 of what a request says, however it is spelt.

    Of a form its fields and the digests of its files, not the boundaries between them; of JSON its values, not the
    spaces or the order of members.
    """
    names = sorted({field.alias for field in route.dependant.header_params})
    said = {
        "path": request.path_params,
        "query": sorted(request.query_params.multi_items()),
        "headers": [(name.lower(), request.headers.getlist(name)) for name in names],
        "purpose": purpose,
        "body": await _body_of(route, request),
    }
    return await digest_said(said)


def _digest(said: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).digest()


async def _body_of(route: APIRoute, request: Request) -> object:
    # A form only where the route takes one and has read it by now, within its own bounds: of any other the framework's
    # parser would take every encoding there is; and what is no form may be as large as an upload.
    if route.body_field is not None and isinstance(route.body_field.field_info, params.Form):
        form = await request.form()
        return sorted([[name, await _field(value)] for name, value in form.multi_items()], key=str)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if media_type == JSON and body:
        return {"json": await cast("StrictRequest", request).json()}
    return {"type": media_type, "sha256": hashlib.sha256(body).hexdigest()} if body else None


async def _field(value: str | UploadFile) -> object:
    if isinstance(value, str):
        return value
    told = {"name": value.filename, "type": value.content_type}
    incoming = getattr(value, "incoming", None)
    if isinstance(incoming, Incoming):
        return {**told, "sha256": (await incoming.digest()).hex()}
    # Of another form's, which the framework keeps in memory or on the disk.
    content = await value.read()
    await value.seek(0)
    return {**told, "sha256": hashlib.sha256(content).hexdigest()}
