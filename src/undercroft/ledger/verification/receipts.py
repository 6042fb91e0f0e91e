"""A receipt of one version of a document: a signed note (docs/verify.md)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undercroft.ledger.verification.files import digest_file
from undercroft.ledger.verification.findings import Fault, VerificationError, quote
from undercroft.ledger.verification.notes import (
    MAX_NOTE,
    Note,
    VerifierKey,
    check_note,
    parse_decimal,
    parse_note,
)

HEADER: Final = b"undercroft-receipt@v1\n"

LOG: Final = re.compile(r"[^\s+]{1,300}")
VERSION: Final = re.compile(r"[1-9][0-9]{0,9}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
ENTRY: Final = re.compile(r"entry_[0-9a-f]{32}")

_LINES: Final = {
    "log": LOG,
    "document": re.compile(r"file-[0-9a-f]{32}"),
    "version": VERSION,
    "size": re.compile(r"0|[1-9][0-9]{0,18}"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "time": TIME,
    "entry": ENTRY,
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a log signed about a version.

    Attributes:
        log: The log's origin.
        document: The document's id.
        version: Its number.
        size: Length of the content, in bytes.
        sha256: Of the content, in hexadecimal.
        time: When the version was made, RFC 3339 in UTC.
        entry: Id of the ledger's entry of that.
    """

    log: str
    document: str
    version: int
    size: int
    sha256: str
    time: str
    entry: str
    note: Note


def parse_receipt(data: bytes) -> Receipt:
    """Read a receipt; its signatures are not checked.

    Raises:
        VerificationError: When it is malformed.
    """
    note, lines = parse_lines(data, HEADER)
    if len(lines) != len(_LINES):
        raise malformed(f"it has not the {len(_LINES)} lines of a receipt")
    values = read_lines(lines, _LINES)
    size = parse_decimal(values["size"])
    if size is None:
        raise malformed("its size is not a decimal number below 2^63")
    return Receipt(
        log=values["log"],
        document=values["document"],
        version=int(values["version"]),
        size=size,
        sha256=values["sha256"],
        time=values["time"],
        entry=values["entry"],
        note=note,
    )


def check_receipt(receipt: Receipt, keys: Sequence[VerifierKey]) -> VerifierKey:
    """Find the key that signed a receipt.

    Raises:
        VerificationError: When it is of another log, signed by no key given, or its signature is wrong.
    """
    return check_note(receipt.note, receipt.log, keys, "receipt")


def check_receipt_content(receipt: Receipt, content: Path) -> None:
    """Check that a file is what a receipt is of.

    Raises:
        VerificationError: When it is not, or cannot be read.
    """
    size, digest = digest_file(content, str(content))
    if (size, digest) != (receipt.size, receipt.sha256):
        raise VerificationError(
            Fault.CONTENT_MISMATCH,
            f"{quote(str(content))} is not the content of version {receipt.version} of {receipt.document}",
            path=str(content),
        )


def parse_lines(data: bytes, header: bytes) -> tuple[Note, list[str]]:
    """Read a receipt that is a note, whatever it is of: the note, and its lines after the header.

    Raises:
        VerificationError: When it is none.
    """
    if len(data) > MAX_NOTE or not data.startswith(header):
        raise malformed(f"it does not begin with {header.decode().strip()}, or is too long")
    note = parse_note(data)
    return note, note.text.removeprefix(header.decode())[:-1].split("\n")


def read_lines(lines: Sequence[str], shapes: Mapping[str, re.Pattern[str]]) -> dict[str, str]:
    """What as many lines say, by the words that they begin with, in this order.

    Raises:
        VerificationError: When one begins otherwise, or has not its shape.
    """
    values: dict[str, str] = {}
    for (name, shape), line in zip(shapes.items(), lines, strict=True):
        word, _, value = line.partition(" ")
        if word != name or shape.fullmatch(value) is None:
            raise malformed(f"its line for {name} is not one")
        values[name] = value
    return values


def malformed(reason: str) -> VerificationError:
    """Why something cannot be read as a receipt."""
    return VerificationError(Fault.MALFORMED_RECEIPT, f"the receipt is malformed: {reason}")
