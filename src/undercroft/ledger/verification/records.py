"""A receipt of fields of a record: a signed note with a commitment to each, and what opens those that are shown."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, cast

from undercroft.ledger.verification.findings import Fault, VerificationError, quote
from undercroft.ledger.verification.notes import Note, VerifierKey, check_note
from undercroft.ledger.verification.objects import MalformedObjectError, parse_object
from undercroft.ledger.verification.receipts import (
    ENTRY,
    LOG,
    TIME,
    VERSION,
    malformed,
    parse_lines,
    read_lines,
)

HEADER: Final = b"undercroft-record-receipt@v1\n"
FORMAT: Final = "undercroft-record-fields@v1"
MAX_FIELDS: Final = 1 << 20

_LINES: Final = {
    "log": LOG,
    "record": re.compile(r"rec_[0-9a-f]{32}"),
    "version": VERSION,
    "time": TIME,
    "entry": ENTRY,
}
_FIELD: Final = re.compile(r'field ([0-9a-f]{64}) ("[ -~]{1,2000}")')
_SALT: Final = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 32


@dataclass(frozen=True, slots=True)
class RecordReceipt:
    """What a log signed about fields of a version.

    Attributes:
        log: The log's origin.
        record: The record's id.
        version: Its number.
        time: When the version was made, RFC 3339 in UTC.
        entry: Id of the ledger's entry of that.
        fields: What commits to each field, in hexadecimal, by its pointer.
        shown: The values that were sent with it, as canonical JSON, and fit.
    """

    log: str
    record: str
    version: int
    time: str
    entry: str
    fields: Mapping[str, str]
    note: Note
    shown: Mapping[str, str]


def parse_record_receipt(data: bytes) -> RecordReceipt:
    """Read a receipt, alone or with what opens it; its signatures are not checked.

    Raises:
        VerificationError: When it is malformed, or a value that comes with it is not the one that it commits to.
    """
    if data.startswith(HEADER):
        return _parse_note(data)
    try:
        members = parse_object(data, MAX_FIELDS)
    except MalformedObjectError as error:
        raise malformed(str(error)) from None
    note, openings = members.get("receipt"), members.get("openings")
    if members.get("format") != FORMAT or not isinstance(note, str):
        raise malformed(f"its format is not {FORMAT}, or it has no receipt")
    if not isinstance(openings, list) or len(members) != 3:
        raise malformed("it has no list of openings, or says more than it may")
    receipt = _parse_note(note.encode())
    shown: dict[str, str] = {}
    for opening in cast("list[object]", openings):
        pointer, value = _open(receipt, opening)
        if pointer in shown:
            raise malformed("it opens a field twice")
        shown[pointer] = value
    return replace(receipt, shown=shown)


def is_record_receipt(data: bytes) -> bool:
    """Whether these bytes are meant to be one."""
    if data.startswith(HEADER):
        return True
    try:
        return parse_object(data, MAX_FIELDS).get("format") == FORMAT
    except MalformedObjectError:
        return False


def check_record_receipt(receipt: RecordReceipt, keys: Sequence[VerifierKey]) -> VerifierKey:
    """Find the key that signed a receipt.

    Raises:
        VerificationError: When it is of another log, signed by no key given, or its signature is wrong.
    """
    return check_note(receipt.note, receipt.log, keys, "receipt")


def _parse_note(data: bytes) -> RecordReceipt:
    note, lines = parse_lines(data, HEADER)
    if len(lines) <= len(_LINES):
        raise malformed("it has not the lines of a receipt")
    values = read_lines(lines[: len(_LINES)], _LINES)
    fields = _parse_fields(lines[len(_LINES) :])
    return RecordReceipt(
        log=values["log"],
        record=values["record"],
        version=int(values["version"]),
        time=values["time"],
        entry=values["entry"],
        fields=fields,
        note=note,
        shown={},
    )


def _parse_fields(lines: Sequence[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise malformed("a line for a field is not one")
        fields[_parse_pointer(found[2])] = found[1]
    if not 1 <= len(fields) <= _MOST or len(fields) != len(lines):
        raise malformed(f"it has not 1 to {_MOST} different fields")
    return fields


def _parse_pointer(text: str) -> str:
    """In the one spelling: what is signed says one thing in one way."""
    try:
        pointer: object = json.loads(text)
        spelt = json.dumps(pointer)
        if isinstance(pointer, str) and pointer.startswith("/") and spelt == text:
            pointer.encode()
            return pointer
    except ValueError:
        pass
    raise malformed("a line for a field has no JSON Pointer")


def _open(receipt: RecordReceipt, opening: object) -> tuple[str, str]:
    members = cast("dict[str, object]", opening if isinstance(opening, dict) else {})
    pointer, salt, value = members.get("field"), members.get("salt"), members.get("value")
    if (
        not isinstance(pointer, str)
        or not isinstance(salt, str)
        or not isinstance(value, str)
        or _SALT.fullmatch(salt) is None
        or len(members) != 3
    ):
        raise malformed("an opening is not a field, its salt and its value")
    if sha256(bytes.fromhex(salt) + value.encode()).hexdigest() != receipt.fields.get(pointer):
        raise VerificationError(
            Fault.OPENING_MISMATCH, f"{quote(pointer)} is not what the receipt commits to"
        )
    return pointer, value
