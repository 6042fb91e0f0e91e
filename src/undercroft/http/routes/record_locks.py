"""Locks on records, for editors who would rather wait for each other than write from an old version."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from undercroft.http.callers import RecordWriter
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.json_bodies import documented_model, read_model
from undercroft.http.objects import RecordLockObject, ReleasedLock
from undercroft.http.openai.contract import errors
from undercroft.http.record_views import require_record_id
from undercroft.http.routes.records import LockToken
from undercroft.http.wire import JsonObject, RequestBody, render_time
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.vault.records.locks import LONGEST_LEASE
from undercroft.vault.records.models import Lock

router = APIRouter(tags=["records"], route_class=NativeRoute)


class LockRecord(RequestBody):
    """How long to hold a lock."""

    seconds: Annotated[int, Field(ge=1, le=LONGEST_LEASE)] = 60


@router.post(
    "/v1/records/{record_id}/lock",
    summary="Lock a record, or renew its lock",
    response_model=RecordLockObject,
    responses=errors(404, 412, 415, 423),
    openapi_extra=documented_model(LockRecord, is_required=False),
)
async def lock_record(
    record_id: str,
    request: Request,
    caller: RecordWriter,
    services: ServicesDependency,
    lock_token: LockToken = None,
) -> dict[str, Any]:
    """A lock ends by itself after that many seconds (60). With ``Lock-Token`` the lock that has it is renewed."""
    body = await read_model(request, LockRecord) if await request.body() else LockRecord()
    key = require_record_id(record_id)
    if lock_token is None:
        return _render(await services.vault.record_locks.acquire(caller, key, body.seconds))
    return _render(await services.vault.record_locks.renew(caller, key, lock_token, body.seconds))


@router.delete(
    "/v1/records/{record_id}/lock",
    summary="Release a record's lock",
    response_model=ReleasedLock,
    responses=errors(404, 412, 428),
)
async def release_lock(
    record_id: str, caller: RecordWriter, services: ServicesDependency, lock_token: LockToken = None
) -> dict[str, Any]:
    """End the lock that ``Lock-Token`` belongs to."""
    if lock_token is None:
        raise UndercroftError(
            "Send Lock-Token with the token of the lock to release.",
            kind=ErrorKind.PRECONDITION_REQUIRED,
            param="Lock-Token",
        )
    await services.vault.record_locks.release(caller, require_record_id(record_id), lock_token)
    return {"id": record_id, "object": "record.lock", "released": True}


def _render(lock: Lock) -> JsonObject:
    return {
        "object": "record.lock",
        "token": lock.token,
        "expires_at": render_time(lock.expires_at),
    }
