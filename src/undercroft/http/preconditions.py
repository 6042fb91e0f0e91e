"""Entity tags and what is asked for by them (RFC 9110, section 13). A tag is the object's version in quotes."""

import re
from typing import Annotated, Final

from fastapi import Header

from undercroft.http.wire import StorableText
from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError

IfMatch = Annotated[
    StorableText | None,
    Header(description='The ETag of the version that the change was made from, or "*".'),
]
IfNoneMatch = Annotated[
    StorableText | None, Header(description="ETags that the caller has; 304 when one is current.")
]

_TAG: Final = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*')
_VERSION: Final = re.compile(r'"([1-9][0-9]{0,9})"')
_LONGEST: Final = 1_000


def render_tag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def required_versions(header: str | None) -> frozenset[int] | None:
    """The versions that a change may be made from, by its ``If-Match``; None for any.

    Weak tags match nothing, and neither do tags that were never ours.

    Raises:
        UndercroftError: Of kind PRECONDITION_REQUIRED, when there is no such header.
        InvalidRequestError: When it is malformed.
    """
    if header is None:
        raise UndercroftError(
            "Send If-Match with the ETag of the version that this change was made from, so that nobody's change is "
            "lost.",
            kind=ErrorKind.PRECONDITION_REQUIRED,
            param="If-Match",
        )
    if header.strip() == "*":
        return None
    versions = (_VERSION.fullmatch(tag) for tag in _tags(header, "If-Match"))
    return frozenset(int(version[1]) for version in versions if version is not None)


def has_version(header: str | None, version: int) -> bool:
    """Whether an ``If-None-Match`` names this version; the comparison is the weak one.

    Raises:
        InvalidRequestError: When it is malformed.
    """
    if header is None:
        return False
    if header.strip() == "*":
        return True
    return render_tag(version) in {tag.removeprefix("W/") for tag in _tags(header, "If-None-Match")}


def _tags(header: str, name: str) -> list[str]:
    tags: list[str] = []
    place = 0
    while len(header) <= _LONGEST and (found := _TAG.match(header, place)) is not None:
        tags.append(found[1])
        place = found.end()
        if place == len(header):
            return tags
        if header[place] != ",":
            break
        place += 1
    raise InvalidRequestError(
        f"{name} should hold ETags as they were received, in their double quotes.", param=name
    )
