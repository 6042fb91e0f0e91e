"""The tenant's log, as C2SP tlog-tiles serves it, and proofs from it.

Checkpoints are public. Tiles and entries are the tenant's own: they name nobody, and yet say how much is done and when.
"""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from undercroft.http.callers import LogReader
from undercroft.http.deps import NativeRoute, ServicesDependency, operation_id
from undercroft.http.objects import ConsistencyProof, InclusionProof, LedgerObject
from undercroft.http.openai.contract import errors, problems
from undercroft.http.wire import require_id
from undercroft.kit.errors import NotFoundError
from undercroft.ledger.tiles import Tile, parse_level, parse_tile

_FOR_EVER: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
_NOW: Final = {"Cache-Control": "no-store"}
_OCTETS: Final = "application/octet-stream"
_LARGEST: Final = (1 << 63) - 1

LogId = Annotated[str, Path(max_length=64, description="The log's id: 32 hexadecimal digits.")]
TilePath = Annotated[
    str, Path(max_length=64, description="As x001/x234/067, or 067.p/8 for a partial one.")
]
_SIZE: Final = "Size of the tree; the current one unless given."


def _octets() -> dict[int | str, dict[str, Any]]:
    good: dict[str, Any] = {"description": "The bytes.", "content": {_OCTETS: {}}}
    return {200: good, **problems(401, 403, 404)}


public_router = APIRouter(tags=["ledger"], generate_unique_id_function=operation_id)
router = APIRouter(tags=["ledger"], route_class=NativeRoute)


@public_router.get(
    "/ledger/{log}/checkpoint",
    summary="A log's checkpoint",
    response_class=Response,
    responses={
        200: {"description": "A signed note.", "content": {"text/plain": {}}},
        **problems(404),
    },
)
async def get_checkpoint(log: LogId, services: ServicesDependency) -> Response:
    """How many entries a log has, and the root of its tree, signed: for anybody to keep."""
    text = await services.proof.ledger_reader.find_checkpoint(_require_log(log))
    return Response(text, media_type="text/plain; charset=utf-8", headers=_NOW)


@router.get(
    "/ledger/{log}/tile/entries/{path:path}",
    summary="A bundle of entries",
    response_class=Response,
    responses=_octets(),
)
async def get_entries(
    log: LogId, path: TilePath, caller: LogReader, services: ServicesDependency
) -> Response:
    """Up to 256 entries, each behind its length in two bytes."""
    data = await services.proof.ledger_reader.read_entries(
        caller, _require_log(log), _require_tile(path)
    )
    return Response(data, media_type=_OCTETS, headers=_FOR_EVER)


@router.get(
    "/ledger/{log}/tile/{level}/{path:path}",
    summary="A tile of hashes",
    response_class=Response,
    responses=_octets(),
)
async def get_tile(
    log: LogId,
    level: Annotated[str, Path(max_length=2)],
    path: TilePath,
    caller: LogReader,
    services: ServicesDependency,
) -> Response:
    """Up to 256 hashes of 32 bytes."""
    number = parse_level(level)
    if number is None:
        raise NotFoundError("tile level", _plain(level))
    data = await services.proof.ledger_reader.read_tile(
        caller, _require_log(log), number, _require_tile(path)
    )
    return Response(data, media_type=_OCTETS, headers=_FOR_EVER)


@router.get(
    "/v1/ledger", summary="The tenant's log", response_model=LedgerObject, responses=errors()
)
async def get_ledger(caller: LogReader, services: ServicesDependency) -> dict[str, Any]:
    """What it takes to mirror and to verify it. Keep the verifier key, and a checkpoint now and then."""
    log = await services.proof.ledger_reader.describe(caller)
    return {
        "object": "ledger",
        "id": log.id.hex,
        "origin": log.origin,
        "verifier_key": log.verifier_keys[0],
        "verifier_keys": list(log.verifier_keys),
        "size": log.size,
    }


@router.get(
    "/v1/ledger/inclusion",
    summary="Prove that an entry is in a tree",
    response_model=InclusionProof,
    responses=errors(),
)
async def get_inclusion(
    index: Annotated[int, Query(ge=0, le=_LARGEST)],
    caller: LogReader,
    services: ServicesDependency,
    size: Annotated[int | None, Query(ge=0, le=_LARGEST, description=_SIZE)] = None,
) -> dict[str, Any]:
    """The inclusion proof of RFC 6962, section 2.1.1."""
    size, path = await services.proof.ledger_reader.prove_inclusion(caller, index, size)
    return {"object": "ledger.inclusion", "index": index, "size": size, "hashes": _encode(path)}


@router.get(
    "/v1/ledger/consistency",
    summary="Prove that a tree begins with an earlier one",
    response_model=ConsistencyProof,
    responses=errors(),
)
async def get_consistency(
    earlier: Annotated[int, Query(alias="from", ge=0, le=_LARGEST)],
    caller: LogReader,
    services: ServicesDependency,
    later: Annotated[int | None, Query(alias="to", ge=0, le=_LARGEST, description=_SIZE)] = None,
) -> dict[str, Any]:
    """The consistency proof of RFC 6962, section 2.1.2."""
    later, path = await services.proof.ledger_reader.prove_consistency(caller, earlier, later)
    return {
        "object": "ledger.consistency",
        "from": earlier,
        "to": later,
        "hashes": _encode(path),
    }


def _encode(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(node).decode() for node in hashes]


def _plain(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _require_tile(path: str) -> Tile:
    tile = parse_tile(path)
    if tile is None:
        raise NotFoundError("tile", _plain(path))
    return tile


def _require_log(text: str) -> UUID:
    return require_id("", "log", text)
