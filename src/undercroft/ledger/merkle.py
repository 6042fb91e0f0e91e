"""The Merkle tree of RFC 6962, section 2.1, over SHA-256: growing it, and proofs from stored hashes. Pure.

A *node* ``(height, index)`` is the root of the complete subtree over the entries from ``index << height`` on, ``1 <<
height`` of them. Stored are the nodes of heights 0, 8, 16, ...: the hashes of tiles (C2SP tlog-tiles).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

HASH_BYTES: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Coordinate: TypeAlias = tuple[int, int]
"""Level of a tile, and position of a hash in that level."""
ReadHash: TypeAlias = Callable[[Coordinate], bytes]


def hash_leaf(entry: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Growth:
    """A tree after entries were added.

    Attributes:
        size: How many entries it has now.
        frontier: Roots of the complete subtrees that make it up, the largest first.
        stored: The hashes above the leaves that tiles are made of and that are new, by level and position.
    """

    size: int
    frontier: tuple[bytes, ...]
    stored: dict[Coordinate, bytes]


def grow(size: int, frontier: Sequence[bytes], entries: Iterable[bytes]) -> Growth:
    """Add entries to a tree of which only the frontier is known.

    Takes two hashes an entry, whatever the tree's size.

    Args:
        size: How many entries the tree has.
        frontier: Its frontier: one hash for each 1 among the binary digits of ``size``.
        entries: What to add, in order.

    Raises:
        ValueError: When ``frontier`` cannot be that of a tree of ``size``.
    """
    if len(frontier) != size.bit_count():
        raise ValueError(f"a tree of {size} entries has no frontier of {len(frontier)} hashes")
    stack = list(frontier)
    stored: dict[Coordinate, bytes] = {}
    for entry in entries:
        node, height, index = hash_leaf(entry), 0, size
        while index & 1:
            node = hash_children(stack.pop(), node)
            height, index = height + 1, index >> 1
            if height % TILE_HEIGHT == 0:
                stored[height // TILE_HEIGHT, index] = node
        stack.append(node)
        size += 1
    return Growth(size, tuple(stack), stored)


def root_of(frontier: Sequence[bytes]) -> bytes:
    """The root of the tree with that frontier."""
    if not frontier:
        return EMPTY_ROOT
    root = frontier[-1]
    for node in reversed(frontier[:-1]):
        root = hash_children(node, root)
    return root


@dataclass(frozen=True, slots=True)
class Subtree:
    """The entries from ``start`` up to ``end``, as one of the proofs' hashes covers them."""

    start: int
    end: int


def inclusion_subtrees(index: int, size: int) -> list[Subtree]:
    """What an inclusion proof consists of, from the leaf's sibling up: PATH(m, D[n]) of RFC 6962, section 2.1.1.

    Raises:
        ValueError: Unless ``0 <= index < size``.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} entries has none at {index}")
    path: list[Subtree] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(Subtree(middle, end))
            end = middle
        else:
            path.append(Subtree(start, middle))
            start = middle
    return path[::-1]


def consistency_subtrees(old_size: int, size: int) -> list[Subtree]:
    """What a consistency proof consists of: PROOF(m, D[n]) of RFC 6962, section 2.1.2.

    Empty where there is nothing to prove: between equal sizes, and from the empty tree.

    Raises:
        ValueError: Unless ``0 <= old_size <= size``.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} entries was never one of {old_size}")
    if old_size in {0, size}:
        return []
    path: list[Subtree] = []
    start, end = 0, size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(Subtree(middle, end))
            end = middle
        else:
            path.append(Subtree(start, middle))
            start = middle
    if start > 0:
        path.append(Subtree(start, end))
    return path[::-1]


def needed_hashes(subtrees: Iterable[Subtree]) -> Iterator[tuple[int, int, int]]:
    """Which stored hashes the subtrees' roots are made from: level, first position, and the position after the last."""
    for subtree in subtrees:
        for height, index in _nodes(subtree):
            level, rest = divmod(height, TILE_HEIGHT)
            yield level, index << rest, (index + 1) << rest


def subtree_hash(subtree: Subtree, read: ReadHash) -> bytes:
    """The root of a subtree, from stored hashes."""
    return root_of([_node_hash(height, index, read) for height, index in _nodes(subtree)])


def _node_hash(height: int, index: int, read: ReadHash) -> bytes:
    level, rest = divmod(height, TILE_HEIGHT)
    hashes = [read((level, position)) for position in range(index << rest, (index + 1) << rest)]
    while len(hashes) > 1:
        hashes = [
            hash_children(left, right)
            for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]


def _nodes(subtree: Subtree) -> Iterator[tuple[int, int]]:
    """The complete subtrees that make up a subtree, the largest first: height and index of each."""
    start = subtree.start
    while start < subtree.end:
        height = (subtree.end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1
