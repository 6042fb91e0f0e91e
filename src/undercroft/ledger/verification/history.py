"""The earlier checkpoint: read, believed only when signed, and held against what the log shows now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undercroft.ledger.verification.files import Files, FolderFiles, read_file
from undercroft.ledger.verification.findings import (
    Fault,
    Findings,
    Problem,
    Span,
    VerificationError,
)
from undercroft.ledger.verification.log import Anchor
from undercroft.ledger.verification.notes import (
    MAX_NOTE,
    Checkpoint,
    VerifierKey,
    check_signature,
    parse_checkpoint,
)
from undercroft.ledger.verification.tiles import (
    CHECKPOINT,
    TileLevel,
    find_tile,
    read_bundle,
    tile_path,
)
from undercroft.ledger.verification.tree import TILE_WIDTH, hash_leaf

NAME: Final = "the earlier checkpoint"


@dataclass(frozen=True, slots=True)
class History:
    """An earlier checkpoint with a good signature.

    Attributes:
        checkpoint: What it says.
        path: The file it is from.
        mirror: The log as it was mirrored then, when that was given.
    """

    checkpoint: Checkpoint
    path: str
    mirror: Files | None

    def anchor(self) -> Anchor:
        """The root that the log is known to have had."""
        return Anchor(self.checkpoint.size, self.checkpoint.root, NAME, self.path)


def read_history(path: Path, keys: Sequence[VerifierKey], findings: Findings) -> History | None:
    """Read an earlier checkpoint, or that of an earlier mirror's folder; None, once told, when it is no good."""
    folder = path.is_dir()
    file = path / CHECKPOINT if folder else path
    try:
        checkpoint = parse_checkpoint(read_file(file, MAX_NOTE, str(file)))
        check_signature(checkpoint, keys)
    except VerificationError as error:
        problem = error.problem
        findings.take(
            Problem(problem.fault, f"of the earlier checkpoint: {problem.message}", path=str(file))
        )
        return None
    return History(checkpoint, str(file), FolderFiles(path) if folder else None)


def check_tail(files: Files, size: int, anchors: Sequence[Anchor], findings: Findings) -> None:
    """Tell of anchors that cover more entries than the log has now.

    Whether somebody cut the log and signed it again, or shows a checkpoint that was good once, cannot be told from
    the checkpoint: the bytes would be the same. It can when the files still hold the entries.
    """
    for anchor in anchors:
        if anchor.size <= size:
            continue
        last = (anchor.size - 1) // TILE_WIDTH
        width = anchor.size - last * TILE_WIDTH
        kept = files.has(find_tile(files, "entries", last, width)[0])
        missing = Span(size, anchor.size - 1)
        if kept:
            findings.add(
                Fault.OLD_CHECKPOINT,
                f"an old checkpoint is shown: it ends before {missing}, which {anchor.name} covers and the "
                "files still hold",
                entries=missing,
                path=CHECKPOINT,
            )
        else:
            findings.add(
                Fault.TAIL_CUT_OFF,
                f"the log's tail is cut off, or it is an old copy with its checkpoint: {anchor.name} covers "
                f"{missing}, and nothing is there",
                entries=missing,
                path=CHECKPOINT,
            )


def check_earlier_mirror(files: Files, size: int, history: History, findings: Findings) -> None:
    """Name the first entry that is not what the earlier mirror has of it."""
    if history.mirror is None:
        return
    common = min(size, history.checkpoint.size)
    ignored = (
        Findings()
    )  # what is missing now has been told; what was missing then says nothing about now
    then = TileLevel(history.mirror, 0, history.checkpoint.size, ignored)
    for number in range(-(-common // TILE_WIDTH)):
        start = number * TILE_WIDTH
        kept = then.tile(number)
        if kept is None:
            return
        # As wide as the files have it now, of which only what both have is compared.
        entries = read_bundle(files, number, min(TILE_WIDTH, size - start), ignored)
        for position, (entry, digest) in enumerate(zip(entries, kept, strict=False), start):
            if hash_leaf(entry) != digest:
                forked = not findings.counts[Fault.ROOT_MISMATCH]
                findings.add(
                    Fault.FORKED if forked else Fault.ENTRY_MISMATCH,
                    f"entry {position} is the first that is not what the earlier mirror has there",
                    entries=Span(position, position),
                    path=tile_path("entries", number, min(TILE_WIDTH, size - start)),
                )
                return
