"""The Merkle tree of RFC 6962 over SHA-256, derived from its leaves in constant memory."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Self

from undercroft.ledger.verification.findings import Fault, VerificationError

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


def hash_leaf(entry: bytes) -> bytes:
    """The hash of a tree of one entry."""
    return sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """The hash of a tree of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def hash_full_tile(hashes: Sequence[bytes]) -> bytes:
    """The root of a full tile's 256 hashes."""
    row = hashes
    while len(row) > 1:
        row = [hash_node(row[left], row[left + 1]) for left in range(0, len(row), 2)]
    return row[0]


class Spine:
    """A growing tree, of which only the roots of the complete subtrees at its right edge are kept: at most 64 hashes.

    Each subtree is as large as one bit that is set in the number of leaves.
    """

    def __init__(self, size: int = 0, subtrees: Iterable[tuple[int, bytes]] = ()) -> None:
        self.size = size
        self._subtrees = list(subtrees)

    def copy(self) -> Self:
        """A tree of the same leaves that grows by itself."""
        return type(self)(self.size, self._subtrees)

    def push(self, digest: bytes, height: int = 0) -> list[tuple[int, int, bytes]]:
        """Append a leaf hash, or the root of a complete subtree of ``2 ** height`` leaves.

        Returns:
            Level, index and value of each hash above level 0 that tiles have for what is now complete.
        """
        self.size += 1 << height
        completed: list[tuple[int, int, bytes]] = []
        while True:
            if height and height % TILE_HEIGHT == 0:
                completed.append((height // TILE_HEIGHT, (self.size >> height) - 1, digest))
            if not self._subtrees or self._subtrees[-1][0] != height:
                self._subtrees.append((height, digest))
                return completed
            digest = hash_node(self._subtrees.pop()[1], digest)
            height += 1

    def subtrees(self) -> list[bytes]:
        """The roots of the complete subtrees that make it up, the largest first."""
        return [digest for _, digest in self._subtrees]

    def root(self) -> bytes:
        """The root of the whole tree so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        root = self._subtrees[-1][1]
        for _, digest in reversed(self._subtrees[:-1]):
            root = hash_node(digest, root)
        return root


def root_of_proof(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2).

    Args:
        leaf: Hash of the entry.
        index: Position of the entry.
        size: Number of entries in the tree.
        path: Hashes from the leaf's sibling up to the root's child.

    Raises:
        VerificationError: When no proof for this position and size has so many hashes.
    """
    if index >= size:
        raise VerificationError(
            Fault.NOT_INCLUDED, f"position {index} is not in a log of {size} entries"
        )
    node, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise _wrong_length(index, size, path)
        if node & 1 or node == last:
            root = hash_node(sibling, root)
            # On the right edge: up to where a left sibling is.
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            root = hash_node(root, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise _wrong_length(index, size, path)
    return root


def _wrong_length(index: int, size: int, path: Sequence[bytes]) -> VerificationError:
    return VerificationError(
        Fault.NOT_INCLUDED,
        f"no proof of position {index} in a log of {size} entries has {len(path)} hashes",
    )
