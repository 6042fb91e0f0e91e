"""``POST /mcp``: one JSON-RPC message, from whoever shows a credential, and its answer as JSON.

There are no sessions, streams or batches: each message stands for itself, on whichever process it arrives.
"""

import asyncio
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.json_bodies import JSON, read_json, require_media_type
from undercroft.http.mcp.errors import NotAcceptableError
from undercroft.http.origins import require_known_origin
from undercroft.kit.errors import InvalidRequestError

if TYPE_CHECKING:
    from undercroft.http.mcp.server import Exchange

router = APIRouter(tags=["mcp"], route_class=NativeRoute)

_SERVER: Final = "undercroft.http.mcp.server"
_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_NO_MESSAGE: Final = (
    "Send one JSON-RPC 2.0 request or notification: an object with 'jsonrpc' and 'method', and where they are needed "
    "'id' and 'params'."
)
_ACCEPTED: Final = frozenset({JSON, "application/*", "*/*"})


# What it takes and answers stands in tools/list; OpenAPI has no words for that.
@router.post("/mcp", summary="Call MCP", include_in_schema=False)
async def call_mcp(request: Request, services: ServicesDependency) -> Response:
    """One message. Whoever has a credential may send one; each tool asks for the permission that it needs."""
    require_known_origin(request, services.settings.cors_origins)
    _require_json_accepted(request)
    require_media_type(request)
    try:
        message = await read_json(request)
    except InvalidRequestError as error:
        return _refuse(_PARSE_ERROR, error.message)
    if not _is_message(message):
        return _refuse(_INVALID_REQUEST, _NO_MESSAGE)
    exchange = await asyncio.to_thread(_load)
    return await unless_disconnected(request, exchange(request.scope, await request.body()))


def _load() -> "Exchange":
    exchange: Exchange = importlib.import_module(_SERVER).exchange
    return exchange


def _require_json_accepted(request: Request) -> None:
    stated = ",".join(request.headers.getlist("accept")) or "*/*"
    if _ACCEPTED.isdisjoint(each.partition(";")[0].strip().lower() for each in stated.split(",")):
        raise NotAcceptableError


def _is_message(sent: object) -> bool:
    """Whether it is one request or notification. What answers a request is none: nothing is asked of clients."""
    if not isinstance(sent, Mapping):
        return False
    message = cast("Mapping[str, object]", sent)
    identifier = message.get("id", 0)
    return (
        message.get("jsonrpc") == "2.0"
        and isinstance(message.get("method"), str)
        and isinstance(message.get("params", {}), Mapping)
        and isinstance(identifier, str | int)
        and not isinstance(identifier, bool)
    )


def _refuse(code: int, message: str) -> Response:
    error = {"code": code, "message": message}
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 400)
