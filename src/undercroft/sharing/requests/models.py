"""Access requests, and what they ask for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from undercroft.sharing.models import GrantAction, ModelUse, PageRange, Parts, Resource, Terms

REQUEST_PREFIX: Final = "request_"


class RequestState(StrEnum):
    """Where a request is."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for.

    Attributes:
        message: A few words to the owner.
    """

    terms: Terms
    message: str | None


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request as it is kept.

    Attributes:
        wish: What is asked for; for its owner, and only until it is answered.
        expires_at: When it is over if nobody answers.
        grant_id: What was granted.
    """

    id: UUID
    resource: Resource
    asker_id: UUID
    owner_id: UUID
    state: RequestState
    wish: Wish | None
    created_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    grant_id: UUID | None


def encode_wish(wish: Wish) -> bytes:
    """As it is sealed."""
    terms, parts = wish.terms, wish.terms.parts
    value = {
        "actions": sorted(terms.actions),
        "fields": None if terms.fields is None else sorted(terms.fields),
        "pages": None if parts is None else [[page.first, page.last] for page in parts.pages],
        "sections": None if parts is None else list(parts.sections),
        "purpose": terms.purpose,
        "not_before": _render(terms.not_before),
        "expires_at": _render(terms.expires_at),
        "max_uses": terms.max_uses,
        "model_use": None if terms.model_use is None else sorted(terms.model_use),
        "message": wish.message,
    }
    return json.dumps(value, ensure_ascii=False).encode()


def decode_wish(data: bytes) -> Wish:
    """What was sealed."""
    value: Mapping[str, Any] = json.loads(data)
    pages, fields, model_use = value["pages"], value["fields"], value["model_use"]
    terms = Terms(
        actions=frozenset(map(GrantAction, value["actions"])),
        fields=None if fields is None else frozenset(fields),
        parts=None
        if pages is None
        else Parts(
            tuple(PageRange(first, last) for first, last in pages), tuple(value["sections"])
        ),
        purpose=value["purpose"],
        not_before=_read(value["not_before"]),
        expires_at=_read(value["expires_at"]),
        max_uses=value["max_uses"],
        model_use=None if model_use is None else frozenset(map(ModelUse, model_use)),
    )
    return Wish(terms, value["message"])


def _render(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
