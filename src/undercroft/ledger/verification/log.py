"""Walks a mirrored log once, from its first entry to its last, and derives every hash again.

Two trees grow side by side: one of the entries, one of the hashes in the tiles of level 0. Which of them has the root
that the checkpoint signs tells what was altered, the entries or the tiles. Memory does not grow with the log.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from undercroft.ledger.verification.entries import entry_pattern, read_entry
from undercroft.ledger.verification.files import Files
from undercroft.ledger.verification.findings import Fault, Findings, Problem, Span
from undercroft.ledger.verification.notes import Checkpoint
from undercroft.ledger.verification.tiles import (
    CHECKPOINT,
    TileLevel,
    find_tile,
    read_bundle,
    tile_path,
)
from undercroft.ledger.verification.tree import (
    EMPTY_ROOT,
    TILE_HEIGHT,
    TILE_WIDTH,
    Spine,
    hash_full_tile,
    hash_leaf,
)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A root that the log is known to have had.

    Attributes:
        size: Number of entries then.
        root: Root of the tree of these.
        name: What messages call it, such as "the earlier checkpoint".
        path: The file it is from.
    """

    size: int
    root: bytes
    name: str
    path: str


class Tree:
    """One of the two trees, with its roots at the sizes of anchors."""

    def __init__(self) -> None:
        self.spine = Spine()
        self.complete = True
        """Whether every hash in it is from its own source, not borrowed from the other tree."""
        self.roots: dict[int, bytes] = {0: EMPTY_ROOT}

    def push(
        self, hashes: Sequence[bytes], tile_root: bytes | None, sizes: Sequence[int]
    ) -> list[tuple[int, int, bytes]]:
        """Append the leaf hashes of one tile, noting the roots at ``sizes`` in it; returns what ``Spine.push`` does."""
        start = self.spine.size
        for size in sizes:
            part = self.spine.copy()
            for digest in hashes[: size - start]:
                part.push(digest)
            self.roots[size] = part.root()
        if tile_root is not None:
            return self.spine.push(tile_root, TILE_HEIGHT)
        for digest in hashes:
            self.spine.push(digest)
        return []

    def holds(self, size: int, root: bytes) -> bool:
        """Whether its root at a size, noted on the way, is this one; what it borrowed is then right as well."""
        return self.roots.get(size) == root


class LogWalk:
    """Verifies entries, tiles and roots of a mirrored log.

    Args:
        files: The mirror.
        checkpoint: Says how large the log is and what its root is.
        log: The id that every entry must name.
        anchors: Roots that it must have had; those of more entries than it has now are left to the caller.
        findings: Where problems are told.
        witness: Shown each entry that is spelt as entries are, in their order.
    """

    def __init__(
        self,
        files: Files,
        checkpoint: Checkpoint,
        log: str,
        anchors: Sequence[Anchor],
        findings: Findings,
        witness: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self._files = files
        self._checkpoint = checkpoint
        self._size = checkpoint.size
        self._log = log
        self._is_good = entry_pattern(log).fullmatch
        self._anchors = sorted(
            (anchor for anchor in anchors if anchor.size <= checkpoint.size),
            key=lambda anchor: anchor.size,
        )
        self._findings = findings
        self._witness = witness
        self._levels: dict[int, TileLevel] = {}
        self._entries, self._tiles = Tree(), Tree()
        self._mismatch: int | None = None
        self._wrong_tiles = Findings()

    def run(self) -> None:
        """Walk the log and tell what is wrong with it."""
        sizes = sorted({*(anchor.size for anchor in self._anchors), self._size} - {0})
        at = 0
        for number in range(-(-self._size // TILE_WIDTH)):
            last = at
            while last < len(sizes) and sizes[last] <= (number + 1) * TILE_WIDTH:
                last += 1
            if not self._walk_tile(number, sizes[at:last]):
                self._entries.complete = self._tiles.complete = False
                break
            at = last
        self._conclude()

    def _walk_tile(self, number: int, sizes: Sequence[int]) -> bool:
        """Take the entries and hashes of one tile of level 0; False when the log cannot be followed further."""
        start = number * TILE_WIDTH
        width = min(TILE_WIDTH, self._size - start)
        entries = read_bundle(self._files, number, width, self._findings)
        stored = self._level(0).tile(number)
        hashes = list(map(hash_leaf, entries))
        self._check_entries(entries, start)
        if stored is None:
            self._tiles.complete = False
            if len(hashes) < width:
                return False
            stored = hashes
        elif len(hashes) < width:
            self._entries.complete = False
            self._note_mismatch(hashes, stored, start)
            hashes += stored[len(hashes) :]
        elif hashes != stored:
            self._note_mismatch(hashes, stored, start)
        root = hash_full_tile(hashes) if width == TILE_WIDTH else None
        same = hashes == stored
        self._entries.push(hashes, root, sizes)
        stored_root = root if same or root is None else hash_full_tile(stored)
        for level, index, digest in self._tiles.push(stored, stored_root, sizes):
            self._check_tile(level, index, digest)
        return True

    def _check_entries(self, entries: Sequence[bytes], start: int) -> None:
        for position, data in enumerate(entries, start):
            if self._is_good(data):
                if self._witness is not None:
                    self._witness(position, data)
                continue
            entry = read_entry(data, self._log)
            if isinstance(entry, Problem):
                self._findings.add(
                    entry.fault,
                    f"entry {position} {entry.message}",
                    entries=Span(position, position),
                )

    def _note_mismatch(self, hashes: Sequence[bytes], stored: Sequence[bytes], start: int) -> None:
        if self._mismatch is None:
            for offset, (derived, kept) in enumerate(zip(hashes, stored, strict=False)):
                if derived != kept:
                    self._mismatch = start + offset
                    return

    def _level(self, level: int) -> TileLevel:
        found = self._levels.get(level)
        if found is None:
            found = TileLevel(self._files, level, self._size, self._findings)
            self._levels[level] = found
        return found

    def _check_tile(self, level: int, index: int, digest: bytes) -> None:
        """Compare the root of a full tile with the hash of it in the level above."""
        number, place = divmod(index, TILE_WIDTH)
        tile = self._level(level).tile(number)
        if tile is None or tile[place] == digest:
            return
        path = tile_path(level, number)
        covered = TILE_WIDTH**level
        self._wrong_tiles.add(
            Fault.TILE_MISMATCH,
            f"hash {place} of tile ({level}, {number}) is not the root of tile ({level - 1}, {index})",
            entries=Span(index * covered, (index + 1) * covered - 1),
            path=path,
        )

    def _conclude(self) -> None:
        """Compare both trees with the checkpoint and the anchors, and name the first bad entry as well as they can."""
        entries_hold = self._entries.holds(self._size, self._checkpoint.root)
        tiles_hold = self._tiles.holds(self._size, self._checkpoint.root)
        self._findings.include(self._wrong_tiles, entries_are_good=entries_hold)
        if self._mismatch is not None:
            self._tell_mismatch(self._mismatch, entries_hold=entries_hold, tiles_hold=tiles_hold)
        if entries_hold or tiles_hold:
            self._tell_forks(self._entries if entries_hold else self._tiles)
        elif self._entries.complete or self._tiles.complete:
            self._tell_wrong_root(self._entries if self._entries.complete else self._tiles)

    def _tell_mismatch(self, position: int, *, entries_hold: bool, tiles_hold: bool) -> None:
        """An entry and its hash in a tile differ: say which of them was altered, if the checkpoint tells."""
        number, place = divmod(position, TILE_WIDTH)
        width = min(TILE_WIDTH, self._size - number * TILE_WIDTH)
        path, _ = find_tile(self._files, 0, number, width)
        if entries_hold:
            self._findings.add(
                Fault.TILE_MISMATCH,
                f"hash {place} of tile (0, {number}) was altered: it is not that of entry {position}, "
                "and the entries are those of the checkpoint",
                path=path,
            )
            return
        known = ", and the checkpoint is of the tiles: the entry was altered" if tiles_hold else ""
        self._findings.add(
            Fault.ENTRY_MISMATCH,
            f"entry {position} does not match its leaf hash in tile (0, {number}){known}",
            entries=Span(position, position),
            path=path,
        )

    def _tell_forks(self, tree: Tree) -> None:
        """The log is that of its checkpoint: say of which anchors it is not."""
        good = 0
        for anchor in self._anchors:
            if tree.roots[anchor.size] == anchor.root:
                good = anchor.size
                continue
            self._findings.add(
                Fault.FORKED,
                f"the log was forked: its first {anchor.size} entries are not those of {anchor.name}",
                entries=Span(good, anchor.size - 1) if anchor.size else None,
                path=anchor.path,
            )

    def _tell_wrong_root(self, tree: Tree) -> None:
        """The log is not that of its checkpoint: say between which anchors its first bad entry is."""
        good, end = 0, self._size
        for anchor in self._anchors:
            if tree.roots[anchor.size] != anchor.root:
                end = anchor.size
                break
            good = anchor.size
        among = Span(good, end - 1) if good < end else None
        self._findings.add(
            Fault.ROOT_MISMATCH,
            "the root derived from the log is not that of the checkpoint"
            + (f"; the first bad one is among {among}" if among else ""),
            entries=among,
            path=CHECKPOINT,
        )
        for anchor in self._anchors:
            if anchor.size == self._size and anchor.root != self._checkpoint.root:
                self._findings.add(
                    Fault.FORKED,
                    f"the log was forked: {anchor.name} has the same size and another root",
                    path=anchor.path,
                )
