"""The bytes of an entry: RFC 8785 JSON that names people and things by salted commitments alone."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from undercroft.kit.ids import render_id
from undercroft.ledger.models import (
    ENTRY_PREFIX,
    GRANT_PREFIX,
    OPERATOR,
    OPERATOR_ID,
    USER_PREFIX,
    Act,
)

LEAF_VERSION: Final = 1

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
"""RFC 8785 in every byte, of an object as an entry is one: ASCII names, texts and small integers. Where the two differ
is in fractions, and in names beyond the Basic Multilingual Plane."""


def commit(salt: bytes, value: bytes) -> str:
    """SHA-256(salt || value), in hexadecimal: says nothing to whoever lacks the salt."""
    return hashlib.sha256(salt + value).hexdigest()


def derive_salt(salt: bytes, entry_id: UUID, field: str) -> bytes:
    """The salt of one field of one entry, from that of its subject (HMAC-SHA256).

    With the subject's own, one opened entry would name its subject in every other. A derived salt opens one field and
    tells nothing of the rest; and once the subject's salt is destroyed, none can be derived.
    """
    return _derive_salt(salt, render_id(ENTRY_PREFIX, entry_id), field)


def _derive_salt(salt: bytes, entry: str, field: str) -> bytes:
    return hmac.digest(salt, f"{entry}/{field}".encode(), "sha256")


def user_reference(user_id: UUID) -> str:
    """A user's id on the wire."""
    return render_id(USER_PREFIX, user_id)


def actor_reference(actor_id: UUID) -> str:
    """A user's id on the wire, or ``operator``."""
    return OPERATOR if actor_id == OPERATOR_ID else user_reference(actor_id)


def grant_reference(grant_id: UUID) -> str:
    """A grant's id on the wire."""
    return render_id(GRANT_PREFIX, grant_id)


def render_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode_leaf(
    entry_id: UUID,
    log_id: UUID,
    occurred_at: datetime,
    actor_id: UUID,
    act: Act,
    user_salts: Mapping[UUID, bytes],
    trace: str | None,
) -> bytes:
    """The canonical bytes of one entry.

    Grant, purpose and content are committed to with salts of the resource's: they go with it.

    Args:
        entry_id: The entry.
        log_id: The log it is made for, so that it is no entry of any other.
        occurred_at: When.
        actor_id: The user who acted, or the operator.
        act: What was done.
        user_salts: Salts of the actor and of the user on whose behalf, if there is one.
        trace: Id of the request, or None.
    """

    def committed(field: str, salt: bytes, value: bytes) -> str:
        return commit(_derive_salt(salt, entry, field), value)

    entry = render_id(ENTRY_PREFIX, entry_id)
    salt = act.resource.salt
    fields: dict[str, str | int] = {
        "action": act.action,
        "actor": OPERATOR
        if actor_id == OPERATOR_ID
        else committed("actor", user_salts[actor_id], user_reference(actor_id).encode()),
        "id": entry,
        "log": log_id.hex,
        "outcome": act.outcome.value,
        "resource": committed("resource", salt, act.resource.reference.encode()),
        "time": render_time(occurred_at),
        "v": LEAF_VERSION,
    }
    if act.content is not None:
        fields["content"] = committed("content", salt, act.content)
    if act.grant_id is not None:
        fields["grant"] = committed("grant", salt, grant_reference(act.grant_id).encode())
    if act.on_behalf_of is not None:
        fields["on_behalf_of"] = committed(
            "on_behalf_of", user_salts[act.on_behalf_of], user_reference(act.on_behalf_of).encode()
        )
    if act.purpose is not None:
        fields["purpose"] = committed("purpose", salt, act.purpose.encode())
    if act.refusals is not None:
        fields["refusals"] = act.refusals
    if trace is not None:
        fields["trace"] = trace
    if act.version is not None:
        fields["version"] = act.version
    return canonical_object(fields)


def canonical_object(fields: Mapping[str, str | int]) -> bytes:
    """RFC 8785 of an object with ASCII names, without fractions: a third of the time that a general encoder takes.

    Raises:
        UnicodeEncodeError: When a text holds half of a surrogate pair.
    """
    return _ENCODER.encode(fields).encode()
