"""Addresses of tiles and entry bundles, and the bytes of a bundle (C2SP tlog-tiles)."""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from undercroft.ledger.merkle import TILE_WIDTH

# At most six groups: no tree here has more than 2^63 entries.
_PATH: Final = re.compile(r"((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_LEVEL: Final = re.compile(r"[0-9]|[1-5][0-9]|6[0-3]")


@dataclass(frozen=True, slots=True)
class Tile:
    """Which hashes or entries of a level make up a tile.

    Attributes:
        index: Of the tile within its level.
        width: How many, 256 in a full one.
    """

    index: int
    width: int

    @property
    def start(self) -> int:
        """Position of its first hash or entry within the level."""
        return self.index * TILE_WIDTH

    @property
    def end(self) -> int:
        """The position after its last."""
        return self.start + self.width


def parse_tile(path: str) -> Tile | None:
    """The tile of a path such as ``x001/x234/067.p/8``; None unless it is spelt just as the format says."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    groups, width = match[1].replace("x", "").split("/"), int(match[2] or TILE_WIDTH)
    if (len(groups) > 1 and groups[0] == "000") or (match[2] and width >= TILE_WIDTH):
        return None
    return Tile(int("".join(groups)), width)


def parse_level(text: str) -> int | None:
    """A tile's level, 0 to 63; None unless it is spelt just as the format says."""
    return int(text) if _LEVEL.fullmatch(text) else None


def render_tile(tile: Tile) -> str:
    """The path of a tile."""
    digits = str(tile.index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "".join(f"x{group}/" for group in groups[:-1]) + groups[-1]
    return path if tile.width == TILE_WIDTH else f"{path}.p/{tile.width}"


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each behind its length in two bytes, big-endian."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)
