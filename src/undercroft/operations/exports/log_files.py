"""A log as the plain files of a mirror: checkpoint, tiles and entry bundles (C2SP tlog-tiles)."""

from collections.abc import Iterator, Sequence
from typing import Final

from undercroft.ledger.merkle import TILE_WIDTH, hash_children, hash_leaf
from undercroft.ledger.tiles import Tile, bundle, render_tile

_FOLDER: Final = "log"
CHECKPOINT: Final = f"{_FOLDER}/checkpoint"


class LogFiles:
    """Makes the files of a growing log: each when it is full, what is left at the end. Memory does not grow with it."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._bundles = 0
        self._levels: list[list[bytes]] = []
        self._tiles: list[int] = []

    def add(self, leaves: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
        """Path and bytes of each file that these entries, in order, complete."""
        for leaf in leaves:
            self._entries.append(leaf)
            if len(self._entries) == TILE_WIDTH:
                yield self._end_bundle()
            yield from self._push(0, hash_leaf(leaf))

    def finish(self) -> Iterator[tuple[str, bytes]]:
        """The files that are not full."""
        if self._entries:
            yield self._end_bundle()
        for level, hashes in enumerate(self._levels):
            if hashes:
                yield self._end_tile(level)

    def _push(self, level: int, digest: bytes) -> Iterator[tuple[str, bytes]]:
        if level == len(self._levels):
            self._levels.append([])
            self._tiles.append(0)
        hashes = self._levels[level]
        hashes.append(digest)
        if len(hashes) == TILE_WIDTH:
            root = _root(hashes)
            yield self._end_tile(level)
            yield from self._push(level + 1, root)

    def _end_bundle(self) -> tuple[str, bytes]:
        tile = Tile(self._bundles, len(self._entries))
        data = bundle(self._entries)
        self._bundles += 1
        self._entries = []
        return f"{_FOLDER}/tile/entries/{render_tile(tile)}", data

    def _end_tile(self, level: int) -> tuple[str, bytes]:
        hashes = self._levels[level]
        tile = Tile(self._tiles[level], len(hashes))
        self._tiles[level] += 1
        self._levels[level] = []
        return f"{_FOLDER}/tile/{level}/{render_tile(tile)}", b"".join(hashes)


def _root(hashes: Sequence[bytes]) -> bytes:
    row = list(hashes)
    while len(row) > 1:
        row = [hash_children(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]
