"""The decisions, without a database: what a re-share may hold, what the ways of a caller add up to.

The database decides *whether* grants count (``ways_to``): their time, their grantee, their purpose.
This module decides what they let through together: the grants of one way narrow each other, the ways add to each other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from undercroft.kit.errors import InvalidRequestError
from undercroft.sharing.models import (
    EVERY_MODEL_USE,
    GrantAction,
    GrantLimits,
    ModelUse,
    PageRange,
    Parts,
    ResourceKind,
    Terms,
    Way,
)

_RANGE: Final = re.compile(r"\[(\d+),(\d+)\)")
_PARTS_ACTIONS: Final = frozenset(
    {GrantAction.SEARCH, GrantAction.READ_PARTS, GrantAction.COMMENT, GrantAction.SHARE}
)
_ACTIONS: Final = {
    ResourceKind.DOCUMENT: frozenset(GrantAction),
    ResourceKind.COLLECTION: frozenset(GrantAction),
    ResourceKind.RECORD: frozenset(GrantAction) - {GrantAction.READ_PARTS, GrantAction.DOWNLOAD},
    ResourceKind.RESPONSE: frozenset({GrantAction.READ, GrantAction.SHARE}),
    ResourceKind.CONVERSATION: frozenset({GrantAction.READ, GrantAction.WRITE, GrantAction.SHARE}),
}
_UNCOUNTED: Final = frozenset(
    {ResourceKind.RECORD, ResourceKind.RESPONSE, ResourceKind.CONVERSATION}
)
"""What is shown anew at every listing, so that no reading of it is counted as a use."""


def read_ways(value: Sequence[Sequence[Mapping[str, Any]]] | None) -> tuple[Way, ...]:
    """The ways that ``ways_to`` and ``ways_to_document`` answer; none for NULL."""
    return tuple(Way(tuple(map(_read_limits, grants))) for grants in value or ())


def read_pages(multirange: str) -> tuple[PageRange, ...]:
    """The pages of an ``int4multirange`` in its text form, which PostgreSQL has brought to half-open ranges."""
    return tuple(PageRange(int(first), int(end) - 1) for first, end in _RANGE.findall(multirange))


def render_pages(pages: Sequence[PageRange]) -> str:
    """Pages as an ``int4multirange`` in its text form."""
    return "{" + ",".join(f"[{page.first},{page.last}]" for page in pages) + "}"


def _read_limits(value: Mapping[str, Any]) -> GrantLimits:
    parts = None
    if "pages" in value or "sections" in value:
        parts = Parts(read_pages(value.get("pages", "")), tuple(value.get("sections", ())))
    return GrantLimits(
        id=UUID(value["id"]),
        fields=frozenset(value["fields"]) if "fields" in value else None,
        parts=parts,
        model_use=frozenset(map(ModelUse, value["model_use"])) if "model_use" in value else None,
        is_counted=value.get("limited", False),
    )


# Fields of records ----------------------------------------------------------------------------------------------------


def covers_pointer(allowed: frozenset[str] | None, pointer: str) -> bool:
    """Whether a JSON Pointer is one of those allowed, or lies below one."""
    return allowed is None or any(
        pointer == one or pointer.startswith(f"{one}/") for one in allowed
    )


def common_fields(
    first: frozenset[str] | None, second: frozenset[str] | None
) -> frozenset[str] | None:
    """What lies below pointers of both."""
    if first is None or second is None:
        return second if first is None else first
    return frozenset(
        {pointer for pointer in first if covers_pointer(second, pointer)}
        | {pointer for pointer in second if covers_pointer(first, pointer)}
    )


def allowed_fields(ways: Sequence[Way]) -> frozenset[str] | None:
    """The pointers below which a caller may read a record; None for all of it."""
    allowed: frozenset[str] = frozenset()
    for way in ways:
        fields: frozenset[str] | None = None
        for grant in way.grants:
            fields = common_fields(fields, grant.fields)
        if fields is None:
            return None
        allowed |= fields
    return allowed


# Parts of documents ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its document a passage stands."""

    page_start: int | None
    page_end: int | None
    headings: Sequence[str]


def holds(parts: Parts | None, place: Place) -> bool:
    """Whether a passage lies wholly in the parts: one that runs over onto another page does not."""
    if parts is None or any(heading in parts.sections for heading in place.headings):
        return True
    if place.page_start is None or place.page_end is None:
        return False
    pages = PageRange(place.page_start, place.page_end)
    return any(_is_within(pages, allowed) for allowed in parts.pages)


def _is_within(pages: PageRange, allowed: PageRange) -> bool:
    """The database keeps ranges that touch each other as one, so that pages on either side of a joint are in one."""
    return allowed.first <= pages.first and pages.last <= allowed.last


def ways_to_place(ways: Sequence[Way], place: Place) -> tuple[Way, ...]:
    """Those of the ways that let a caller see a passage."""
    return tuple(way for way in ways if all(holds(grant.parts, place) for grant in way.grants))


# What models may do ---------------------------------------------------------------------------------------------------


def allowed_model_use(way: Way) -> frozenset[ModelUse]:
    """What models may do with what one way lets through."""
    allowed = EVERY_MODEL_USE
    for grant in way.grants:
        allowed &= EVERY_MODEL_USE if grant.model_use is None else grant.model_use
    return allowed


def ways_for_models(ways: Sequence[Way], model_use: frozenset[ModelUse]) -> tuple[Way, ...]:
    """Those of the ways that let models do all of this; every one where no model is to be shown anything."""
    return tuple(way for way in ways if model_use <= allowed_model_use(way))


# Which way is taken ---------------------------------------------------------------------------------------------------


def choose_way(ways: Sequence[Way]) -> Way:
    """The way that is put on record, and whose uses are counted: one that costs none, if there is one; else the oldest.

    Args:
        ways: At least one.
    """
    return min(
        ways,
        key=lambda way: (
            sum(grant.is_counted for grant in way.grants),
            len(way.grants),
            [grant.id.bytes for grant in way.grants],
        ),
    )


def ways_to_record(ways: Sequence[Way]) -> tuple[Way, ...]:
    """The ways that a record is read by: one that shows all of it, else every one, as each shows fields of its own."""
    whole = [way for way in ways if allowed_fields([way]) is None]
    return (choose_way(whole),) if whole else tuple(ways)


# What may be granted --------------------------------------------------------------------------------------------------


def check_terms(kind: ResourceKind, terms: Terms) -> None:
    """Hold what is asked for against what the resource is.

    Raises:
        InvalidRequestError: When the terms make no sense for it, with what to change.
    """
    impossible = sorted(terms.actions - _ACTIONS[kind])
    if impossible:
        raise _invalid(f"'{impossible[0]}' is nothing that can be done with it.", "actions")
    if terms.fields is not None and kind is not ResourceKind.RECORD:
        raise _invalid("Only records have fields; leave 'fields' out.", "fields")
    if terms.max_uses is not None and kind in _UNCOUNTED:
        raise _invalid(
            "Uses of records, conversations and responses are not counted; leave 'max_uses' out, and set 'expires_at'.",
            "max_uses",
        )
    if terms.parts is not None:
        if kind is not ResourceKind.DOCUMENT:
            raise _invalid("Only documents have pages and sections; leave 'parts' out.", "parts")
        whole = sorted(terms.actions - _PARTS_ACTIONS)
        if whole:
            raise _invalid(
                f"'{whole[0]}' shows all of a document; with 'parts' use 'read_parts' or 'search'.",
                "actions",
            )
    elif GrantAction.READ_PARTS in terms.actions and GrantAction.READ not in terms.actions:
        raise _invalid("Say which with 'parts', or grant 'read'.", "parts")
    if (
        terms.not_before is not None
        and terms.expires_at is not None
        and terms.expires_at <= terms.not_before
    ):
        raise ends_too_early()


def ends_too_early() -> InvalidRequestError:
    """The error for a grant that would never count."""
    return _invalid(
        "It would be over before it begins: 'expires_at' has to be later than 'not_before', and than now; both are in "
        "seconds since 1970.",
        "expires_at",
    )


def find_widening(child: Terms, parent: Terms) -> str | None:
    """The name of the first term in which a re-share would give more than was given; None when it is as narrow."""
    checks: dict[str, bool] = {
        "actions": child.actions <= parent.actions,
        "fields": parent.fields is None
        or (
            child.fields is not None
            and all(covers_pointer(parent.fields, pointer) for pointer in child.fields)
        ),
        "parts": _is_part_of(child.parts, parent.parts),
        "purpose": parent.purpose is None or child.purpose == parent.purpose,
        "not_before": parent.not_before is None
        or (child.not_before is not None and child.not_before >= parent.not_before),
        "expires_at": parent.expires_at is None
        or (child.expires_at is not None and child.expires_at <= parent.expires_at),
        "max_uses": parent.max_uses is None
        or (child.max_uses is not None and child.max_uses <= parent.max_uses),
        "model_use": parent.model_use is None
        or (child.model_use is not None and child.model_use <= parent.model_use),
    }
    return next((name for name, is_narrow in checks.items() if not is_narrow), None)


def _is_part_of(child: Parts | None, parent: Parts | None) -> bool:
    if parent is None or child is None:
        return parent is None
    return set(child.sections) <= set(parent.sections) and all(
        any(_is_within(pages, allowed) for allowed in parent.pages) for pages in child.pages
    )


def _invalid(message: str, param: str) -> InvalidRequestError:
    return InvalidRequestError(message, param=param)
