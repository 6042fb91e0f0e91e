"""The audit: what was done with what one owns, and what one did; all of the tenant's, for its admins."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from starlette.responses import Response, StreamingResponse

from undercroft.http.callers import AuditReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import AuditEntryObject, OpenedAuditEntryObject, Page
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import JsonObject, StorableText, page_of, require_id
from undercroft.identity.models import Principal, Role
from undercroft.kit.ids import parse_id, render_id
from undercroft.ledger.actions import Action as LedgerAction
from undercroft.ledger.leaves import actor_reference, grant_reference, render_time, user_reference
from undercroft.ledger.models import (
    ENTRY_PREFIX,
    OPERATOR,
    OPERATOR_ID,
    USER_PREFIX,
    AuditEntry,
    AuditFilter,
)

_FIELDS: Final = (
    "id",
    "time",
    "position",
    "action",
    "outcome",
    "actor",
    "on_behalf_of",
    "owner",
    "resource",
    "version",
    "grant",
    "purpose",
    "trace",
    "refusals",
    "proof",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

router = APIRouter(tags=["audit"], route_class=NativeRoute)


def _storable_time(moment: datetime) -> datetime:
    """In UTC, which the last hours of the year 9999 are not everywhere."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("should be a time between the years 1 and 9999") from error


def _written_out(value: object) -> object:
    """Not a number of seconds, which pydantic would take as well and the document does not name."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("should be a date and time as RFC 3339 has them")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_storable_time)]
Resource = Annotated[
    StorableText | None, Query(max_length=200, description="Id of what was acted on.")
]
Actor = Annotated[
    StorableText | None, Query(max_length=64, description="Id of the user who acted, or operator.")
]
Action = Annotated[LedgerAction | None, Query(description="As document.read.")]
Since = Annotated[Moment | None, Query(alias="from", description="The earliest time, included.")]
Until = Annotated[Moment | None, Query(alias="to", description="The latest time, excluded.")]


@router.get(
    "/v1/audit",
    summary="List what was done",
    response_model=Page[AuditEntryObject],
    responses=errors(404),
)
async def list_audit(
    caller: AuditReader,
    services: ServicesDependency,
    resource: Resource = None,
    actor: Actor = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """Entries, the newest first. An entry shows once it has its number, within a second or two."""
    wanted = _filter(resource, actor, action, since, until)
    if wanted is None:
        return page_of([], limit)
    entries = await services.proof.audit.list_entries(
        caller,
        _viewer(caller),
        wanted,
        after=None if after is None else require_id(ENTRY_PREFIX, "entry", after, "after"),
        limit=limit + 1,
    )
    return page_of([render_entry(entry) for entry in entries], limit)


@router.get(
    "/v1/audit/export",
    summary="Export what was done",
    response_class=Response,
    responses={
        200: {
            "description": "All entries, the newest first.",
            "content": {"application/jsonl": {}, "text/csv": {}},
        },
        **errors(),
    },
)
async def export_audit(
    caller: AuditReader,
    services: ServicesDependency,
    file_format: Annotated[Literal["csv", "jsonl"], Query(alias="format")] = "jsonl",
    resource: Resource = None,
    actor: Actor = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
) -> Response:
    """The entries that the list shows, up to now, as CSV or as a JSON object a line."""
    wanted = _filter(resource, actor, action, since, until or services.clock.now())
    pages = (
        _no_pages()
        if wanted is None
        else await services.proof.audit.export(caller, _viewer(caller), wanted)
    )
    write, media_type = (
        (_write_csv, "text/csv") if file_format == "csv" else (_write_lines, "application/jsonl")
    )
    headers = {"Content-Disposition": f'attachment; filename="audit.{file_format}"'}
    return StreamingResponse(write(pages), media_type=media_type, headers=headers)


@router.get(
    "/v1/audit/{entry_id}",
    summary="Get an entry",
    response_model=OpenedAuditEntryObject,
    responses=errors(404),
)
async def get_audit_entry(
    entry_id: str, caller: AuditReader, services: ServicesDependency
) -> dict[str, Any]:
    """An entry with its bytes as they are in the log, and what opens its commitments while that is not erased."""
    opened = await services.proof.audit.open_entry(caller, _viewer(caller), _require_id(entry_id))
    openings = {
        opening.field: {"value": opening.value, "salt": opening.salt.hex()}
        for opening in opened.openings
    }
    return {
        **render_entry(opened.entry),
        "canonical": opened.leaf.decode(),
        "openings": openings,
    }


@router.get(
    "/v1/audit/{entry_id}/proof",
    summary="Prove an entry",
    response_class=Response,
    responses={
        200: {"description": "A proof as tlog-proof@v1.", "content": {"text/plain": {}}},
        **errors(404),
    },
)
async def get_audit_proof(
    entry_id: str, caller: AuditReader, services: ServicesDependency
) -> Response:
    """Proves that the entry is in the log, to be checked offline. Waits two seconds for one that has no number yet."""
    proof = await services.proof.ledger_reader.prove_entry(
        caller, _require_id(entry_id), _viewer(caller)
    )
    return Response(proof, media_type="text/plain; charset=utf-8")


def _viewer(caller: Principal) -> UUID | None:
    """Whom entries have to concern; None for an admin."""
    return None if caller.role is Role.ADMIN else caller.user_id


def _filter(
    resource: str | None,
    actor: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
) -> AuditFilter | None:
    """None when nothing can match."""
    actor_id = OPERATOR_ID if actor == OPERATOR else parse_id(USER_PREFIX, actor or "")
    if actor is not None and actor_id is None:
        return None
    actions = None if action is None else frozenset({action})
    return AuditFilter(resource, actor_id, actions, since, until)


def render_entry(entry: AuditEntry) -> JsonObject:
    """An entry as people read it."""
    entry_id = render_id(ENTRY_PREFIX, entry.id)
    return {
        "id": entry_id,
        "object": "audit.entry",
        "time": render_time(entry.occurred_at),
        "position": entry.position,
        "action": entry.action,
        "outcome": entry.outcome,
        "actor": actor_reference(entry.actor_id),
        "on_behalf_of": _user(entry.on_behalf_of),
        "owner": _user(entry.owner_id),
        "resource": entry.resource,
        "version": entry.version,
        "grant": None if entry.grant_id is None else grant_reference(entry.grant_id),
        "purpose": entry.purpose,
        "trace": entry.trace,
        "refusals": entry.refusals,
        "proof": f"/v1/audit/{entry_id}/proof",
    }


def _user(user_id: UUID | None) -> str | None:
    return None if user_id is None else user_reference(user_id)


async def _no_pages() -> AsyncIterator[Sequence[AuditEntry]]:
    for page in ():
        yield page


async def _write_lines(pages: AsyncIterator[Sequence[AuditEntry]]) -> AsyncIterator[bytes]:
    async for page in pages:
        yield "".join(f"{json.dumps(render_entry(entry))}\n" for entry in page).encode()


async def _write_csv(pages: AsyncIterator[Sequence[AuditEntry]]) -> AsyncIterator[bytes]:
    yield _csv_rows([_FIELDS])
    async for page in pages:
        rendered = (render_entry(entry) for entry in page)
        yield _csv_rows([[_cell(row[field]) for field in _FIELDS] for row in rendered])


def _csv_rows(rows: Sequence[Sequence[str]]) -> bytes:
    """RFC 4180."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """A value that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _require_id(text: str) -> UUID:
    return require_id(ENTRY_PREFIX, "entry", text)
