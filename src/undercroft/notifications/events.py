"""Every event that is told, and what it says: ids, codes, numbers and times (pure).

The database's triggers note the bare facts; this is what becomes of them on the wire. An event says no more than the
tenant's audit shows its admins, who manage the webhooks, and to whom it is of use.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias, cast, get_args
from uuid import UUID

from undercroft.kit.ids import render_id
from undercroft.ledger.models import GRANT_PREFIX, USER_PREFIX

EventType: TypeAlias = Literal[
    "access_request.approved",
    "access_request.created",
    "access_request.denied",
    "access_request.expired",
    "comment.created",
    "consent.asked",
    "consent.expired",
    "consent.given",
    "consent.refused",
    "consent.renewed",
    "consent.withdrawn",
    "document.created",
    "document.deleted",
    "document.erased",
    "document.restored",
    "grant.created",
    "grant.cut",
    "grant.revoked",
    "grant.used_up",
    "share_link.created",
    "share_link.exhausted",
    "share_link.redeemed",
    "user.created",
    "user.removed",
]
EVENT_TYPES: Final[frozenset[str]] = frozenset(get_args(EventType))
Payload: TypeAlias = Mapping[str, str | int | bool | None]
"""What an event says."""


class Fact(StrEnum):
    """What a field is: an id, by its prefix, or something else."""

    ACCESS_REQUEST = "request_"
    COMMENT = "comment_"
    CONSENT = "consent_"
    DOCUMENT = "file-"
    GRANT = GRANT_PREFIX
    SHARE_LINK = "link_"
    USER = USER_PREFIX
    RESOURCE = "resource"
    """The id of whatever kind of thing it is."""
    CODE = "code"
    NUMBER = "number"
    MOMENT = "moment"
    """In seconds since 1970; null where there is none."""


_RESOURCES: Final = {
    "document": Fact.DOCUMENT,
    "collection": "vs_",
    "record": "rec_",
    "response": "resp_",
    "conversation": "conv_",
}
_GRANTED: Final = {"grant": Fact.GRANT, "resource": Fact.RESOURCE, "grantor": Fact.USER}
_ANSWERED: Final = {"access_request": Fact.ACCESS_REQUEST, "owner": Fact.USER}
_CONSENTED: Final = {"consent": Fact.CONSENT, "subject": Fact.USER, "controller": Fact.USER}
_KEPT: Final = {"document": Fact.DOCUMENT, "owner": Fact.USER}
_LINKED: Final = {"share_link": Fact.SHARE_LINK, "grant": Fact.GRANT}


@dataclass(frozen=True, slots=True)
class EventSchema:
    """An event as docs/webhooks.md has it."""

    when: str
    fields: Mapping[str, Fact]


EVENTS: Final[Mapping[EventType, EventSchema]] = {
    "access_request.approved": EventSchema(
        "Its owner has granted it, or less", {**_ANSWERED, "grant": Fact.GRANT}
    ),
    "access_request.created": EventSchema(
        "Somebody asks for access", {**_ANSWERED, "expires_at": Fact.MOMENT}
    ),
    "access_request.denied": EventSchema("Its owner has said no", _ANSWERED),
    "access_request.expired": EventSchema("Nobody has answered in time", _ANSWERED),
    "comment.created": EventSchema(
        "A document was commented on",
        {"comment": Fact.COMMENT, "document": Fact.DOCUMENT, "author": Fact.USER},
    ),
    "consent.asked": EventSchema("A person is asked to agree", _CONSENTED),
    "consent.expired": EventSchema("Its time is over", _CONSENTED),
    "consent.given": EventSchema("The person has agreed", _CONSENTED),
    "consent.refused": EventSchema("The person has said no", _CONSENTED),
    "consent.renewed": EventSchema("The person has agreed anew", _CONSENTED),
    "consent.withdrawn": EventSchema("The person has taken it back", _CONSENTED),
    "document.created": EventSchema("A file was uploaded; it may not be searchable yet", _KEPT),
    "document.deleted": EventSchema("It was put into the trash", _KEPT),
    "document.erased": EventSchema("It is gone for good, with its grants", _KEPT),
    "document.restored": EventSchema("It was taken out of the trash", _KEPT),
    "grant.created": EventSchema(
        "Somebody may do something with a thing", {**_GRANTED, "expires_at": Fact.MOMENT}
    ),
    "grant.cut": EventSchema("What its last use still did was cut", _GRANTED),
    "grant.revoked": EventSchema("They may no longer", {**_GRANTED, "reason": Fact.CODE}),
    "grant.used_up": EventSchema("Its last use was taken", {**_GRANTED, "reason": Fact.CODE}),
    "share_link.created": EventSchema("A link was made", _LINKED),
    "share_link.exhausted": EventSchema("A link for one use was used", _LINKED),
    "share_link.redeemed": EventSchema("A link was used", {**_LINKED, "redemptions": Fact.NUMBER}),
    "user.created": EventSchema(
        "Somebody has become a user of the tenant",
        {"user": Fact.USER, "kind": Fact.CODE, "role": Fact.CODE},
    ),
    "user.removed": EventSchema("A user was removed", {"user": Fact.USER, "kind": Fact.CODE}),
}


def render_event(event_type: str, facts: Mapping[str, Any]) -> tuple[EventType, Payload]:
    """An event as it is told.

    Args:
        event_type: What happened.
        facts: What the database noted of it; what it left out is null.

    Raises:
        ValueError: When it is none of ours, or holds what no schema names.
    """
    if event_type not in EVENT_TYPES:
        raise ValueError(f"{event_type!r} is not the name of an event")
    name = cast("EventType", event_type)
    fields = EVENTS[name].fields
    unknown = set(facts) - set(fields)
    if Fact.RESOURCE in fields.values():
        unknown -= set(_RESOURCES)
    if unknown:
        raise ValueError(f"{event_type} does not say {min(unknown)}")
    return name, {field: _render(fact, field, facts) for field, fact in fields.items()}


def _render(fact: Fact, field: str, facts: Mapping[str, Any]) -> str | int | None:
    if fact is Fact.RESOURCE:
        [kind] = set(facts) & set(_RESOURCES)
        return render_id(_RESOURCES[kind], UUID(facts[kind]))
    if fact is Fact.MOMENT:
        moment = facts.get(field)
        return None if moment is None else int(moment)
    if fact is Fact.NUMBER:
        return int(facts[field])
    if fact is Fact.CODE:
        return str(facts[field])
    return render_id(fact, UUID(facts[field]))
