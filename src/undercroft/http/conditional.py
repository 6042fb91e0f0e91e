"""Entity tags, preconditions and ranges, as RFC 9110 has them."""

import re
from typing import Annotated, Final, TypeAlias

from fastapi import Header

from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError

IfMatch: TypeAlias = Annotated[
    str | None, Header(alias="If-Match", max_length=1024, description="The ETag that was read.")
]
IfNoneMatch: TypeAlias = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=1024, description="The ETag that is there already."),
]
Range: TypeAlias = Annotated[
    str | None,
    Header(alias="Range", max_length=1024, description="One range of bytes, as bytes=0-99."),
]
IfRange: TypeAlias = Annotated[
    str | None,
    Header(alias="If-Range", max_length=1024, description="The ETag that the range is of."),
]

_TAG: Final = re.compile(r'(?P<weak>W/)?"(?P<value>[\x21\x23-\x7e]*)"')
_TAGS: Final = re.compile(
    r'[ \t]*(?:W/)?"[\x21\x23-\x7e]*"[ \t]*(?:,[ \t]*(?:W/)?"[\x21\x23-\x7e]*"[ \t]*)*'
)
_REVISION: Final = re.compile(r"[1-9][0-9]{0,18}")
_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(?P<first>[0-9]{0,18})\s*-\s*(?P<last>[0-9]{0,18})\s*")


class PreconditionRequiredError(UndercroftError):
    """The change needs If-Match."""

    def __init__(self) -> None:
        super().__init__(
            "Send If-Match with the ETag of the object as you read it, so that nobody's change is lost.",
            kind=ErrorKind.PRECONDITION_REQUIRED,
            param="If-Match",
        )


def revision_tag(revision: int) -> str:
    """The ETag of an object at a revision."""
    return f'"{revision}"'


def expected_revisions(header: str | None) -> frozenset[int] | None:
    """The revisions that ``If-Match`` names; None for any, when it is ``*`` or not sent.

    Raises:
        InvalidRequestError: When it is no list of entity tags.
    """
    if header is None or header.strip() == "*":
        return None
    # A weak tag never matches here (section 13.1.1), nor does one that we have not given out.
    return frozenset(
        int(value)
        for is_weak, value in _parse_tags(header, "If-Match")
        if not is_weak and _REVISION.fullmatch(value)
    )


def require_revisions(header: str | None) -> frozenset[int] | None:
    """As :func:`expected_revisions`, where ``If-Match`` has to be sent.

    Raises:
        PreconditionRequiredError: When it was not.
        InvalidRequestError: When it is no list of entity tags.
    """
    if header is None:
        raise PreconditionRequiredError
    return expected_revisions(header)


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether the client has what the tag is of already.

    Raises:
        InvalidRequestError: When ``If-None-Match`` is no list of entity tags.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(f'"{value}"' == tag for _, value in _parse_tags(if_none_match, "If-None-Match"))


def select_range(
    size: int, tag: str, range_header: str | None, if_range: str | None
) -> tuple[int, int] | None:
    """The one range of a content that is asked for, from its first byte to the one after its last.

    Returns:
        None when all of it is to be sent: no range was asked for, or several, or in words that are not known, or the
        range is of another content.

    Raises:
        RangeNotSatisfiableError: When there is nothing in the range.
    """
    if range_header is None or (if_range is not None and if_range.strip() != tag):
        return None
    found = _RANGE.fullmatch(range_header)
    if found is None or not (found["first"] or found["last"]):
        return None
    if not found["first"]:
        length = int(found["last"])
        start, end = max(0, size - length), size
    else:
        start = int(found["first"])
        end = min(size, int(found["last"]) + 1) if found["last"] else size
        if found["last"] and int(found["last"]) < start:
            return None  # not a range at all (section 14.1.1)
    if start >= end:
        raise RangeNotSatisfiableError(size)
    return start, end


class RangeNotSatisfiableError(UndercroftError):
    """There is nothing in the range."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The content has {size:,} bytes, and none in the range that was asked for.",
            kind=ErrorKind.RANGE_NOT_SATISFIABLE,
        )
        self.size = size


def _parse_tags(header: str, name: str) -> list[tuple[bool, str]]:
    """Whether each is weak, and its text."""
    if _TAGS.fullmatch(header) is None:
        raise InvalidRequestError(f'{name} is no list of entity tags, as "7" is one.', param=name)
    return [(found["weak"] is not None, found["value"]) for found in _TAG.finditer(header)]
