"""What a bundle says of the entries of its log: the audit that opens their commitments, and files that they commit to.

Both are compared while the log is walked, entry by entry, so memory grows with the files that name an entry alone.
"""

import json
import re
from collections.abc import Mapping, Set
from hashlib import sha256
from typing import Final, cast

from undercroft.ledger.verification.canonical import NotCanonicalError, parse_canonical
from undercroft.ledger.verification.files import Files
from undercroft.ledger.verification.findings import Fault, Findings, quote

AUDIT: Final = "audit.jsonl"

_MAX_LINE: Final = 1 << 16
_PIECE: Final = 1 << 20
_HASH: Final = re.compile("[0-9a-f]{64}")
_PLAIN: Final = ("id", "action", "outcome", "refusals", "time", "trace", "version")
"""What an entry says without a commitment, and its line says again."""
_NAMED: Final = frozenset({"actor", "on_behalf_of", "resource", "grant", "purpose"})
"""What an opening names, and its line says again."""
_OPERATOR: Final = "operator"


class EntryWitness:
    """Takes the entries of a log in their order.

    Args:
        files: The bundle.
        wanted: Ids of the entries that files name and that have no proof of their own.
        findings: Where problems are told.
    """

    def __init__(self, files: Files, wanted: Set[str], findings: Findings) -> None:
        self._lines = _Lines(files, AUDIT) if files.has(AUDIT) else None
        self._wanted = wanted
        self._findings = findings
        self._next = 0
        self.contents: dict[str, str | None] = {}
        """What the wanted entries commit to, by their ids."""

    def take(self, position: int, data: bytes) -> None:
        """An entry that is spelt as entries are; the positions in between have none."""
        if self._lines is None and not self._wanted:
            return
        entry: dict[str, object] = json.loads(data)
        identifier = str(entry["id"])
        if identifier in self._wanted:
            self.contents[identifier] = cast("str | None", entry.get("content"))
        while self._lines is not None and self._next <= position:
            line = self._lines.next()
            if line is None:
                self._tell(f"ends before entry {position}")
                self._lines = None
            elif self._next == position:
                self._check(line, position, entry)
            self._next += 1

    def finish(self, size: int) -> None:
        """The log had so many entries."""
        if self._lines is not None and self._next == size and self._lines.next() is not None:
            self._tell("goes on after the last entry of the log")

    def _check(self, line: bytes, position: int, entry: Mapping[str, object]) -> None:
        try:
            _check_line(line, position, entry)
        except _LineError as error:
            self._tell(f"has a line of entry {position} that {error}")

    def _tell(self, what: str) -> None:
        self._findings.add(Fault.OPENING_MISMATCH, f"{AUDIT} {what}", path=AUDIT)


class _Lines:
    """The lines of a file, read in pieces: the log is read from the same archive meanwhile."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._position = 0
        self._waiting = b""

    def next(self) -> bytes | None:
        """The next line without its end; of a longer one than there can be, a part. None after the last."""
        while b"\n" not in self._waiting and len(self._waiting) <= _MAX_LINE:
            piece = self._files.piece(self._path, self._position, _PIECE)
            if not piece:
                break
            self._position += len(piece)
            self._waiting += piece
        if not self._waiting:
            return None
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line


class _LineError(Exception):
    """What is wrong with a line of the audit."""


def _check_line(line: bytes, position: int, entry: Mapping[str, object]) -> None:
    """Compare what a line of the audit says with its entry."""
    try:
        value = parse_canonical(line)
    except NotCanonicalError as error:
        raise _LineError(f"is malformed: {error}") from None
    said = _members(value)
    if said.get("position") != position:
        raise _LineError("is of another position")
    for name in _PLAIN:
        if said.get(name) != entry.get(name):
            raise _LineError(f"has another {name}")
    if (said.get("actor") == _OPERATOR) != (entry["actor"] == _OPERATOR):
        raise _LineError("has another actor")
    for name, opening in _members(said.get("openings")).items():
        _check_opening(name, _members(opening), said, entry)


def _check_opening(
    name: str,
    opening: Mapping[str, object],
    said: Mapping[str, object],
    entry: Mapping[str, object],
) -> None:
    value, salt = opening.get("value"), opening.get("salt")
    if not isinstance(salt, str) or _HASH.fullmatch(salt) is None:
        raise _LineError(f"is malformed: its opening of {quote(name)} has no salt")
    if name == "content":
        # The file that it is of is compared where the manifest names the entry.
        return
    if name not in _NAMED or not isinstance(value, str):
        raise _LineError(f"opens {quote(name)}, which is nothing that can be opened")
    if value != said.get(name):
        raise _LineError(f"opens another {name} than it says")
    if sha256(bytes.fromhex(salt) + value.encode()).hexdigest() != entry.get(name):
        raise _LineError(f"does not open {name}: the entry commits to another one")


def _members(value: object) -> dict[str, object]:
    """Those of a JSON object; of anything else, a finding."""
    if not isinstance(value, dict):
        raise _LineError("is malformed: it has no object where one has to be")
    return cast("dict[str, object]", value)
