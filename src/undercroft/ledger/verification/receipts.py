"""A receipt of one version of a document: a signed note (docs/verify.md)."""

import re
from collections.abc import Sequence
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

_FIELDS: Final = ("log", "document", "version", "size", "sha256", "time", "entry")
_SHAPES: Final = {
    "log": re.compile(r"[^\s+]{1,300}"),
    "document": re.compile(r"file-[0-9a-f]{32}"),
    "version": re.compile(r"[1-9][0-9]{0,9}"),
    "size": re.compile(r"0|[1-9][0-9]{0,18}"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII),
    "entry": re.compile(r"entry_[0-9a-f]{32}"),
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
    if len(data) > MAX_NOTE or not data.startswith(HEADER):
        raise _malformed(f"it does not begin with {HEADER.decode().strip()}, or is too long")
    note = parse_note(data)
    lines = note.text.removeprefix(HEADER.decode())[:-1].split("\n")
    if len(lines) != len(_FIELDS):
        raise _malformed(f"it has not the {len(_FIELDS)} lines of a receipt")
    values: dict[str, str] = {}
    for field, line in zip(_FIELDS, lines, strict=True):
        name, _, value = line.partition(" ")
        if name != field or _SHAPES[field].fullmatch(value) is None:
            raise _malformed(f"its line for {field} is not one")
        values[field] = value
    size = parse_decimal(values["size"])
    if size is None:
        raise _malformed("its size is not a decimal number below 2^63")
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


def _malformed(reason: str) -> VerificationError:
    return VerificationError(Fault.MALFORMED_RECEIPT, f"the receipt is malformed: {reason}")
