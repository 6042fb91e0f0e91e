"""Entries as they stand in a log: length-prefixed in bundles, each the canonical JSON of one act."""

import re
from dataclasses import dataclass
from typing import Final, cast

from undercroft.ledger.verification.canonical import NotCanonicalError, parse_canonical
from undercroft.ledger.verification.findings import Fault, Problem, quote

MAX_ENTRY: Final = (1 << 16) - 1
"""Bytes; the length in a bundle has two."""
VERSION: Final = 1
"""Of the fields of an entry."""

_PREFIX: Final = 2
_COMMITMENT: Final = "[0-9a-f]{64}"
_TRACE: Final = "[A-Za-z0-9._-]{1,200}"
_TIME: Final = r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{6}Z"
_TEXT_FIELDS: Final[dict[str, tuple[str, bool]]] = {
    "action": (r"[a-z_]+(?:\.[a-z_]+)+", True),
    "actor": (f"{_COMMITMENT}|operator", True),
    "content": (_COMMITMENT, False),
    "grant": (_COMMITMENT, False),
    "id": ("entry_[0-9a-f]{32}", True),
    "log": ("[0-9a-f]{32}", True),
    "on_behalf_of": (_COMMITMENT, False),
    "outcome": ("allowed|denied", True),
    "purpose": (_COMMITMENT, False),
    "resource": (_COMMITMENT, True),
    "time": (_TIME, True),
    "trace": (_TRACE, False),
}
"""Field: the pattern of its value, whether it has to be there. In canonical order."""
_COUNT: Final = "refusals"
_NUMBER: Final = "[1-9][0-9]{0,14}"
_FIELDS: Final = frozenset({*_TEXT_FIELDS, _COUNT, "v", "version"})


def entry_pattern(log: str | None = None) -> re.Pattern[bytes]:
    """What every good entry of a log matches: with fixed names and plain values, canonical JSON is a regular language.

    Args:
        log: The log's id; None for any log, and for groups that hold the values.
    """
    parts: list[str] = []
    for name in sorted({*_TEXT_FIELDS, _COUNT}):
        if name == _COUNT:
            parts.append(f'(?:"{name}":{_NUMBER},)?')
            continue
        pattern, required = _TEXT_FIELDS[name]
        group = f"(?P<{name}>{pattern})" if log is None else f"(?:{pattern})"
        if name == "log" and log is not None:
            group = re.escape(log)
        part = f'"{name}":"{group}",'
        parts.append(part if required else f"(?:{part})?")
    parts.append(f'"v":{VERSION}(?:,"version":(?:0|[1-9][0-9]{{0,14}}))?')
    return re.compile(("\\{" + "".join(parts) + "\\}").encode())


_ENTRY: Final = entry_pattern()


@dataclass(frozen=True, slots=True)
class Entry:
    """What verification needs of a good entry.

    Attributes:
        id: Of the entry.
        log: Id of the log that it was made for.
        content: Commitment to what was read or written, in hexadecimal.
    """

    id: str
    log: str
    content: str | None


def split_bundle(data: bytes, count: int) -> tuple[list[bytes], int]:
    """Take up to ``count`` entries from the front of a bundle.

    Returns:
        Those that are whole, and how many bytes are left behind them.
    """
    entries: list[bytes] = []
    position = 0
    while len(entries) < count and position + _PREFIX <= len(data):
        start = position + _PREFIX
        end = start + (data[position] << 8 | data[position + 1])
        if end > len(data):
            break
        entries.append(data[start:end])
        position = end
    return entries, len(data) - position


def read_entry(data: bytes, log: str) -> Entry | Problem:
    """Check one entry's spelling, its fields, and that it is of this log; a problem says what it is without where."""
    match = _ENTRY.fullmatch(data)
    if match is None:
        return _diagnose(data)
    if match["log"] != log.encode():
        return Problem(
            Fault.FOREIGN_ENTRY,
            f"is of another log: {quote(match['log'].decode())} instead of {quote(log)}",
        )
    content = match["content"]
    return Entry(
        match["id"].decode(),
        log,
        None if content is None else content.decode(),  # pyright: ignore[reportUnnecessaryComparison] - typeshed leaves optional groups out
    )


def _diagnose(data: bytes) -> Problem:
    """What keeps bytes from being an entry."""
    try:
        value = parse_canonical(data)
    except NotCanonicalError as error:
        return Problem(Fault.NOT_CANONICAL, f"is not canonical: {error}")
    if not isinstance(value, dict):
        return Problem(Fault.INVALID_ENTRY, "is no JSON object")
    return _find_wrong_field(cast("dict[str, object]", value))


def _find_wrong_field(fields: dict[str, object]) -> Problem:
    version = fields.get("v")
    if version != VERSION or version is True:
        return Problem(
            Fault.INVALID_ENTRY,
            f"is not of version {VERSION}, which this program knows: verify it with a newer one",
        )
    for name in fields:
        if name not in _FIELDS:
            return Problem(Fault.UNKNOWN_FIELD, f"has an unknown field, {quote(name)}")
    for name, (pattern, required) in _TEXT_FIELDS.items():
        if name not in fields:
            if required:
                return Problem(Fault.INVALID_ENTRY, f"has no field {name}")
        elif not (isinstance(text := fields[name], str) and re.fullmatch(pattern, text)):
            return Problem(Fault.INVALID_ENTRY, f"has a wrong value of {name}")
    count = fields.get(_COUNT)
    if _COUNT in fields and not (type(count) is int and re.fullmatch(_NUMBER, str(count))):
        return Problem(Fault.INVALID_ENTRY, f"has a wrong value of {_COUNT}")
    return Problem(Fault.INVALID_ENTRY, "has a wrong value of version")
