"""A tenant's audit, each entry with what opens its commitments while that is not erased."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import (
    actor_reference,
    derive_salt,
    grant_reference,
    render_time,
    user_reference,
)
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.operations.exports.repository import ExportRepository

_PAGE: Final = 1024


async def open_entries(
    repository: ExportRepository, snapshot: Transaction
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """All entries in the order of the log."""
    at = 0
    while page := await repository.list_entries(snapshot, at, _PAGE):
        found = {_subject_id(row["resource"]) for row in page}
        salts = await repository.list_salts(snapshot, [one for one in found if one is not None])
        yield [_render(row, salts) for row in page]
        at += len(page)


def _subject_id(reference: str) -> UUID | None:
    """The id of what an act was done with, behind its prefix. No two things share one, whatever they are."""
    try:
        return UUID(hex=reference[-32:])
    except ValueError:
        # Not of our making: verifying the export tells of the entry.
        return None


def _render(row: Record, salts: Mapping[UUID, bytes]) -> Mapping[str, Any]:
    return {
        "id": render_id(ENTRY_PREFIX, row["id"]),
        "position": row["position"],
        "time": render_time(row["occurred_at"]),
        "action": row["action"],
        "outcome": row["outcome"],
        "actor": actor_reference(row["actor_id"]),
        "owner": _user(row["owner_id"]),
        "on_behalf_of": _user(row["on_behalf_of"]),
        "resource": row["resource"],
        "version": row["version"],
        "grant": None if row["grant_id"] is None else grant_reference(row["grant_id"]),
        "purpose": row["purpose"],
        "trace": row["trace"],
        "refusals": row["refusals"],
        "openings": _openings(row, salts),
    }


def _openings(row: Record, salts: Mapping[UUID, bytes]) -> dict[str, Mapping[str, str | None]]:
    fields = json.loads(row["leaf"])
    resource_id = _subject_id(row["resource"])
    resource_salt = None if resource_id is None else salts.get(resource_id)
    grant = None if row["grant_id"] is None else grant_reference(row["grant_id"])
    values: dict[str, tuple[bytes | None, str | None]] = {
        "actor": (row["actor_salt"], user_reference(row["actor_id"])),
        "on_behalf_of": (row["on_behalf_of_salt"], _user(row["on_behalf_of"])),
        "resource": (resource_salt, row["resource"]),
        "grant": (resource_salt, grant),
        "purpose": (resource_salt, row["purpose"]),
        "content": (resource_salt, None),
    }
    return {
        field: {"value": value, "salt": derive_salt(salt, row["id"], field).hex()}
        for field, (salt, value) in values.items()
        if salt is not None and field in fields
    }


def _user(user_id: UUID | None) -> str | None:
    return None if user_id is None else user_reference(user_id)
