"""C2SP signed notes and checkpoints, read strictly: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from undercroft.ledger.verification.findings import Fault, VerificationError, quote
from undercroft.ledger.verification.tree import HASH_SIZE

MAX_NOTE: Final = 1 << 18
"""Bytes; sixteen post-quantum signatures fit."""
MAX_SIGNATURES: Final = 64
MAX_TREE: Final = (1 << 63) - 1

_ED25519: Final = b"\x01"
_ID_SIZE: Final = 4
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")
_FORBIDDEN: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_EM_DASH: Final = "\N{EM DASH}"


class KeyFormatError(ValueError):
    """A verifier key is not written as ``name+hex(key ID)+base64(0x01 || key)``; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Whose signature is believed.

    Attributes:
        name: Of the key, and the origin of the log that it signs.
        id: Four bytes that tell keys of one name apart.
        public: The Ed25519 key.
    """

    name: str
    id: bytes
    public: Ed25519PublicKey

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}"


@dataclass(frozen=True, slots=True)
class Signature:
    """A line below a note, not checked yet."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, its final newline included, and who is said to have signed it."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one moment.

    Attributes:
        origin: Which log.
        size: Number of its entries.
        root: Root of the tree of these.
        note: What it was read from.
    """

    origin: str
    size: int
    root: bytes
    note: Note


def parse_key(text: str) -> VerifierKey:
    """Read a verifier key.

    Raises:
        KeyFormatError: When it is malformed, of another algorithm, or its key ID is not that of its key.
    """
    parts = text.strip().split("+", 2)  # base64 may hold a plus
    if len(parts) != 3 or not _is_name(parts[0]) or _KEY_ID.fullmatch(parts[1]) is None:
        raise KeyFormatError("a verifier key is written name+hex(key ID)+base64(0x01 || key)")
    name, key_id, encoded = parts
    material = _decode(encoded)
    if material is None or len(material) != 1 + HASH_SIZE or material[:1] != _ED25519:
        raise KeyFormatError("the verifier key is not an Ed25519 key: base64 of 0x01 and 32 bytes")
    expected = sha256(name.encode() + b"\n" + material).digest()[:_ID_SIZE]
    if expected.hex() != key_id:
        raise KeyFormatError(
            "the verifier key was altered: its key ID does not fit its name and key"
        )
    return VerifierKey(name, expected, Ed25519PublicKey.from_public_bytes(material[1:]))


def parse_note(data: bytes) -> Note:
    """Read a signed note.

    Raises:
        VerificationError: When it is malformed.
    """
    if len(data) > MAX_NOTE:
        raise _malformed(f"it is longer than {MAX_NOTE} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    if _FORBIDDEN.search(whole):
        raise _malformed("it has control characters")
    text, gap, signed = whole.rpartition("\n\n")
    if not gap or not text or not signed.endswith("\n"):
        raise _malformed("it has no signatures after an empty line, or no newline at its end")
    lines = signed[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _malformed(f"it has more than {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(map(parse_signature, lines)))


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Read a checkpoint; its signatures are not checked.

    Raises:
        VerificationError: When it is malformed.
    """
    note = parse_note(data)
    lines = note.text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise _malformed("it does not begin with three lines: origin, size, root")
    origin, decimal, encoded = lines[:3]
    size = parse_decimal(decimal)
    if size is None:
        raise _malformed("its size is not a decimal number below 2^63")
    root = parse_hash(encoded)
    if root is None:
        raise _malformed("its root is not the base64 of 32 bytes")
    return Checkpoint(origin, size, root, note)


def check_signature(checkpoint: Checkpoint, keys: Sequence[VerifierKey]) -> VerifierKey:
    """Find the key that signed a checkpoint, as :func:`check_note` does."""
    return check_note(checkpoint.note, checkpoint.origin, keys, "checkpoint")


def check_note(note: Note, origin: str, keys: Sequence[VerifierKey], what: str) -> VerifierKey:
    """Find the key that signed a note.

    Args:
        note: What was signed.
        origin: The log that it says it is of.
        keys: Whose signature is believed.
        what: What messages call it.

    Raises:
        VerificationError: When it is of another log than the keys, none of them signed it, or a signature that claims
            to be by one of them is wrong.
    """
    if all(origin != key.name for key in keys):
        raise VerificationError(
            Fault.OTHER_ORIGIN,
            f"the {what} is of the log {quote(origin)}, the key of {quote(keys[0].name)}",
        )
    known = {(key.name, key.id): key for key in keys if key.name == origin}
    signers = [
        (known[signature.name, signature.key_id], signature.value)
        for signature in note.signatures
        if (signature.name, signature.key_id) in known
    ]
    if not signers:
        by = ", ".join(quote(str(signature)) for signature in note.signatures[:3])
        raise VerificationError(
            Fault.OTHER_KEY,
            f"the {what} is signed by another key, {by}, not by {quote(str(keys[0]))}",
        )
    for key, value in signers:
        try:
            key.public.verify(value, note.text.encode())
        except InvalidSignature:
            raise VerificationError(
                Fault.BAD_SIGNATURE,
                f"the {what}'s signature by {quote(str(key))} is wrong: its text was altered, or forged",
            ) from None
    return signers[0][0]


def parse_decimal(text: str) -> int | None:
    """A number as C2SP writes it: ASCII, no leading zero, below 2^63; None when it is not one."""
    if _DECIMAL.fullmatch(text) is None or int(text) > MAX_TREE:
        return None
    return int(text)


def parse_hash(text: str) -> bytes | None:
    """32 bytes from base64; None when the text is not that."""
    value = _decode(text)
    return value if value is not None and len(value) == HASH_SIZE else None


def parse_signature(line: str) -> Signature:
    """Read a line that holds a signature.

    Raises:
        VerificationError: When it is malformed.
    """
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    value = _decode(encoded)
    if dash != _EM_DASH or not _is_name(name) or value is None or len(value) <= _ID_SIZE:
        raise _malformed("a line below its text is not a signature")
    return Signature(name, value[:_ID_SIZE], value[_ID_SIZE:])


def _is_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(map(str.isspace, text))


def _decode(text: str) -> bytes | None:
    """Standard base64 with its padding, and only the one spelling of each value."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if base64.b64encode(value).decode() == text else None


def _malformed(reason: str) -> VerificationError:
    return VerificationError(Fault.MALFORMED_CHECKPOINT, f"the checkpoint is malformed: {reason}")
