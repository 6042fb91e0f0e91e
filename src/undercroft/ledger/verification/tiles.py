"""The files of a mirrored log, laid out as https://c2sp.org/tlog-tiles says."""

from typing import Final

from undercroft.ledger.verification.entries import MAX_ENTRY, split_bundle
from undercroft.ledger.verification.files import Files
from undercroft.ledger.verification.findings import Fault, Findings, Span, VerificationError, quote
from undercroft.ledger.verification.tree import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH

CHECKPOINT: Final = "checkpoint"

_MAX_BUNDLE: Final = TILE_WIDTH * (2 + MAX_ENTRY)
_MAX_TILE: Final = TILE_WIDTH * HASH_SIZE


def tile_path(level: int | str, number: int, width: int = TILE_WIDTH) -> str:
    """Where a tile is: ``tile/0/x001/x234/067``, or ``tile/0/000.p/5`` for a partial one.

    Args:
        level: Of the tile, or ``entries`` for a bundle of entries.
        number: Of the tile within its level.
        width: How many hashes or entries it has.
    """
    names = [f"{number % 1000:03}"]
    while number := number // 1000:
        names.insert(0, f"x{number % 1000:03}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(names)}{partial}"


def find_tile(files: Files, level: int | str, number: int, width: int) -> tuple[str, int]:
    """The path and width of the narrowest tile there is that has at least so many hashes or entries.

    A mirror may have grown since the checkpoint that is verified. When there is none, the path where it should be.
    """
    for wider in range(width, TILE_WIDTH + 1):
        path = tile_path(level, number, wider)
        if files.has(path):
            return path, wider
    return tile_path(level, number, width), width


class TileLevel:
    """The hashes of one level for a log of a given size, read in order, one tile in memory.

    Args:
        files: The mirror.
        level: 0 holds the hashes of entries, each higher one the roots of full tiles below.
        size: Number of entries in the log.
        findings: Where a missing or malformed tile is told.
    """

    def __init__(self, files: Files, level: int, size: int, findings: Findings) -> None:
        self._files = files
        self._level = level
        self._count = size >> (TILE_HEIGHT * level)
        self._findings = findings
        self._number = -1
        self._hashes: list[bytes] | None = None

    def tile(self, number: int) -> list[bytes] | None:
        """A tile's hashes; None, once told, when it is missing or malformed."""
        if number != self._number:
            self._number = number
            self._hashes = self._read(number)
        return self._hashes

    def _read(self, number: int) -> list[bytes] | None:
        width = min(TILE_WIDTH, self._count - number * TILE_WIDTH)
        path, there = find_tile(self._files, self._level, number, width)
        try:
            data = self._files.read(path, _MAX_TILE)
        except VerificationError as error:
            self._findings.take(error.problem)
            return None
        if len(data) != there * HASH_SIZE:
            self._findings.add(
                Fault.MALFORMED_TILE,
                f"{quote(path)} has {len(data)} bytes instead of {there * HASH_SIZE}",
                path=path,
            )
            return None
        return [data[at : at + HASH_SIZE] for at in range(0, width * HASH_SIZE, HASH_SIZE)]


def read_bundle(files: Files, number: int, width: int, findings: Findings) -> list[bytes]:
    """The entries of a bundle in their order; fewer than ``width``, once told, when some are missing."""
    path, there = find_tile(files, "entries", number, width)
    first = number * TILE_WIDTH
    try:
        data = files.read(path, _MAX_BUNDLE)
    except VerificationError as error:
        findings.add(
            error.problem.fault,
            str(error),
            entries=Span(first, first + width - 1),
            path=path,
        )
        return []
    entries, left = split_bundle(data, width)
    if len(entries) < width:
        missing = Span(first + len(entries), first + width - 1)
        findings.add(
            Fault.MALFORMED_ENTRIES,
            f"{quote(path)} ends before {missing}"
            + (f": its last {left} bytes are no whole entry" if left else ""),
            entries=missing,
            path=path,
        )
    elif left and there == width:
        findings.add(
            Fault.MALFORMED_ENTRIES,
            f"{quote(path)} has {left} bytes more after its {width} entries",
            path=path,
        )
    return entries
