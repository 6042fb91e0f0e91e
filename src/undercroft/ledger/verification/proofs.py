"""One entry and its proof, as https://c2sp.org/tlog-proof says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from undercroft.ledger.verification.entries import Entry, read_entry
from undercroft.ledger.verification.findings import Fault, Problem, Span, VerificationError
from undercroft.ledger.verification.notes import (
    MAX_NOTE,
    Checkpoint,
    VerifierKey,
    check_signature,
    parse_checkpoint,
    parse_decimal,
    parse_hash,
)
from undercroft.ledger.verification.tree import hash_leaf, root_of_proof

HEADER: Final = b"c2sp.org/tlog-proof@v1\n"
MAX_PROOF: Final = MAX_NOTE + (1 << 17)

_MAX_PATH: Final = 63


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry is in a log.

    Attributes:
        index: Position of the entry.
        path: Hashes from the leaf's sibling up to the root's child.
        checkpoint: The log as of which this is proved.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Proved:
    """What a good proof proves: the entry, its position, and a root that the log had."""

    entry: Entry
    proof: Proof


def parse_proof(data: bytes) -> Proof:
    """Read a proof; nothing in it is checked. Its extra data is not authenticated, so it is left out.

    Raises:
        VerificationError: When it, or the checkpoint in it, is malformed.
    """
    if len(data) > MAX_PROOF or not data.startswith(HEADER):
        raise _malformed(f"it does not begin with {HEADER.decode().strip()}, or is too long")
    head, gap, checkpoint = data.removeprefix(HEADER).partition(b"\n\n")
    if not gap or not head.isascii():
        raise _malformed("it has no checkpoint after an empty line")
    lines = head.decode("ascii").split("\n")
    if lines[0].startswith("extra "):
        del lines[0]
    index = parse_decimal(lines[0].removeprefix("index ")) if lines else None
    if index is None or not lines[0].startswith("index "):
        raise _malformed("it has no index of an entry")
    hashes = [parse_hash(line) for line in lines[1:]]
    path = tuple(digest for digest in hashes if digest is not None)
    if len(path) != len(hashes) or len(path) > _MAX_PATH:
        raise _malformed(
            "a line after its index is not the base64 of 32 bytes, or there are too many"
        )
    return Proof(index, path, parse_checkpoint(checkpoint))


def check_proof(proof: bytes, entry: bytes, keys: Sequence[VerifierKey], log: str) -> Proved:
    """Check that a checkpoint signed by a known key covers an entry.

    Args:
        proof: The proof's file.
        entry: The entry's bytes, as they were logged.
        keys: Whose signature is believed.
        log: The id that the entry must name.

    Raises:
        VerificationError: When anything about it is wrong.
    """
    parsed = parse_proof(proof)
    check_signature(parsed.checkpoint, keys)
    where = Span(parsed.index, parsed.index)
    checkpoint = parsed.checkpoint
    root = root_of_proof(hash_leaf(entry), parsed.index, checkpoint.size, parsed.path)
    if root != checkpoint.root:
        raise VerificationError(
            Fault.NOT_INCLUDED,
            f"these bytes are not entry {parsed.index} of the log: the proof leads to another root",
            entries=where,
        )
    read = read_entry(entry, log)
    if isinstance(read, Problem):
        raise VerificationError(read.fault, f"entry {parsed.index} {read.message}", entries=where)
    return Proved(read, parsed)


def log_of(origin: str) -> str:
    """The id of the log with this origin: the last part of its address."""
    return origin.rpartition("/")[2]


def _malformed(reason: str) -> VerificationError:
    return VerificationError(Fault.MALFORMED_PROOF, f"the proof is malformed: {reason}")
