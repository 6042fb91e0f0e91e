"""Grants as the native routes take and show them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from pydantic import Field

from undercroft.http.objects import Shown, Time
from undercroft.http.wire import RequestBody, render_time, require_id
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import parse_id, render_id
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import GRANT_PREFIX
from undercroft.sharing.consents.models import CONSENT_PREFIX
from undercroft.sharing.models import (
    GROUP_PREFIX,
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    Invitee,
    ModelUse,
    PageRange,
    Parts,
    Resource,
    ResourceKind,
    Terms,
)

_PAGES: Final = re.compile(r"([1-9][0-9]{0,5})(?:-([1-9][0-9]{0,5}))?")
_LATEST: Final = 4_102_444_800
"""The first second of 2100."""

ActionName: TypeAlias = Literal[
    "search", "read", "read_parts", "download", "comment", "write", "share"
]
ModelUseName: TypeAlias = Literal["quote", "summarise", "external"]
Pointer = Annotated[str, Field(max_length=256, pattern=r"^(/([^~/]|~[01])*)+$")]
Moment = Annotated[int, Field(ge=1, le=_LATEST, description="Seconds since 1970, in UTC.")]


class GranteeBody(RequestBody):
    """Whom it is for: one of these."""

    user: Annotated[
        str | None,
        Field(max_length=320, description="An e-mail address; a stranger's makes a guest."),
    ] = None
    group: Annotated[str | None, Field(max_length=64)] = None
    tenant: Annotated[bool | None, Field(description="Everyone in the tenant but guests.")] = None


class PartsBody(RequestBody):
    """Some of a document: what lies on these pages or in these sections."""

    pages: Annotated[
        list[Annotated[str, Field(max_length=13, description="As 7 or 2-5.")]],
        Field(default_factory=list, max_length=100),
    ]
    sections: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=500, description="A heading.")]],
        Field(default_factory=list, max_length=100),
    ]


class TermsBody(RequestBody):
    """What a grant allows, and within which limits."""

    actions: Annotated[list[ActionName], Field(min_length=1, max_length=7)]
    fields: Annotated[
        list[Pointer] | None,
        Field(min_length=1, max_length=100, description="JSON Pointers into a record."),
    ] = None
    parts: PartsBody | None = None
    purpose: Annotated[
        str | None,
        Field(
            pattern="^[a-z][a-z0-9_.:-]{0,63}$",
            description="Whoever uses it has to state this in Undercroft-Purpose.",
        ),
    ] = None
    not_before: Moment | None = None
    expires_at: Moment | None = None
    max_uses: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="How many downloads and answers.")
    ] = None
    model_use: Annotated[list[ModelUseName] | None, Field(max_length=3)] = None


class GranteeObject(Shown):
    """Whom a grant is for."""

    user: str | None = None
    group: str | None = None
    tenant: bool | None = None


class PartsObject(Shown):
    """Some of a document."""

    pages: list[str]
    sections: list[str]


class GrantObject(Shown):
    """A grant."""

    id: str
    object: Literal["grant"]
    resource: str
    owner: str
    grantor: str
    parent: str | None
    consent: Annotated[str | None, Field(description="What it rests on, of something personal.")]
    grantee: GranteeObject
    actions: list[ActionName]
    fields: list[str] | None
    parts: PartsObject | None
    purpose: str | None
    not_before: Time | None
    expires_at: Time | None
    max_uses: int | None
    uses: int
    model_use: list[ModelUseName] | None
    created_at: Time
    ended_at: Time | None
    ending: Literal["revoked", "used_up", "withdrawn", "left_group", "unconsented"] | None
    cut_at: Annotated[
        Time | None, Field(description="When its last use was cut, after it was used up.")
    ]


def parse_resource(text: str) -> Resource | None:
    """The thing behind its id on the wire; None when it is the id of nothing that can be shared."""
    for kind in ResourceKind:
        resource_id = parse_id(kind, text)
        if resource_id is not None:
            return Resource(kind, resource_id)
    return None


def require_resource(text: str, param: str = "resource") -> Resource:
    """The thing behind its id on the wire.

    Raises:
        NotFoundError: When it is the id of nothing that can be shared.
    """
    resource = parse_resource(text)
    if resource is not None:
        return resource
    shown = text[:100].encode("ascii", "replace").decode()
    raise NotFoundError("shareable object", shown, param=param)


def render_resource(resource: Resource) -> str:
    """Its id on the wire."""
    return render_id(resource.kind, resource.id)


def require_grant_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(GRANT_PREFIX, "grant", text, param)


def read_grantee(body: GranteeBody, tenant_id: UUID) -> Grantee | Invitee:
    """Whom a body names.

    Raises:
        InvalidRequestError: When it names nobody or several.
        NotFoundError: When it names what cannot be a group.
    """
    named = [body.user is not None, body.group is not None, bool(body.tenant)]
    if sum(named) != 1:
        raise InvalidRequestError(
            "Name one: a user by address, a group by id, or the tenant with true.", param="grantee"
        )
    if body.user is not None:
        return Invitee(body.user)
    if body.group is not None:
        group_id = require_id(GROUP_PREFIX, "group", body.group, "grantee.group")
        return Grantee(GranteeKind.GROUP, group_id)
    return Grantee(GranteeKind.TENANT, tenant_id)


def read_terms(body: TermsBody) -> Terms:
    """The terms of a body.

    Raises:
        InvalidRequestError: When its pages are none.
    """
    return Terms(
        actions=frozenset(map(GrantAction, body.actions)),
        fields=None if body.fields is None else frozenset(body.fields),
        parts=None if body.parts is None else _read_parts(body.parts),
        purpose=body.purpose,
        not_before=_read_time(body.not_before),
        expires_at=_read_time(body.expires_at),
        max_uses=body.max_uses,
        model_use=None if body.model_use is None else frozenset(map(ModelUse, body.model_use)),
    )


def render_grant(grant: Grant) -> dict[str, Any]:
    """A grant as it is shown."""
    return {
        "id": render_id(GRANT_PREFIX, grant.id),
        "object": "grant",
        "resource": render_resource(grant.resource),
        "owner": user_reference(grant.owner_id),
        "grantor": user_reference(grant.grantor_id),
        "parent": None if grant.parent_id is None else render_id(GRANT_PREFIX, grant.parent_id),
        "consent": None
        if grant.consent_id is None
        else render_id(CONSENT_PREFIX, grant.consent_id),
        "grantee": _render_grantee(grant.grantee),
        **render_terms(grant.terms),
        "uses": grant.uses,
        "created_at": render_time(grant.created_at),
        "ended_at": render_time(grant.ended_at),
        "ending": grant.ending,
        "cut_at": render_time(grant.cut_at),
    }


def render_terms(terms: Terms) -> dict[str, Any]:
    """What a grant allows, or would."""
    return {
        "actions": [action for action in GrantAction if action in terms.actions],
        "fields": None if terms.fields is None else sorted(terms.fields),
        "parts": None if terms.parts is None else _render_parts(terms.parts),
        "purpose": terms.purpose,
        "not_before": render_time(terms.not_before),
        "expires_at": render_time(terms.expires_at),
        "max_uses": terms.max_uses,
        "model_use": None
        if terms.model_use is None
        else [use for use in ModelUse if use in terms.model_use],
    }


def _read_parts(body: PartsBody) -> Parts:
    if not body.pages and not body.sections:
        raise InvalidRequestError("Name pages or sections, or leave 'parts' out.", param="parts")
    return Parts(tuple(map(_read_range, body.pages)), tuple(dict.fromkeys(body.sections)))


def _read_range(text: str) -> PageRange:
    match = _PAGES.fullmatch(text)
    if match is not None:
        pages = PageRange(int(match[1]), int(match[2] or match[1]))
        if pages.first <= pages.last:
            return pages
    raise InvalidRequestError("Pages are written as '7' or '2-5'.", param="parts.pages")


def _render_parts(parts: Parts) -> dict[str, Sequence[str]]:
    pages = [
        str(pages.first) if pages.first == pages.last else f"{pages.first}-{pages.last}"
        for pages in parts.pages
    ]
    return {"pages": pages, "sections": list(parts.sections)}


def _render_grantee(grantee: Grantee) -> dict[str, str | bool]:
    if grantee.kind is GranteeKind.USER:
        return {"user": user_reference(grantee.id)}
    if grantee.kind is GranteeKind.GROUP:
        return {"group": render_id(GROUP_PREFIX, grantee.id)}
    return {"tenant": True}


def _read_time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
