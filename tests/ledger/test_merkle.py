"""The tree, its frontier and its proofs from tiles, against RFC 6962 as it is written: recursive and slow."""

import hashlib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercroft.ledger.merkle import (
    EMPTY_ROOT,
    Subtree,
    consistency_subtrees,
    grow,
    hash_leaf,
    inclusion_subtrees,
    needed_hashes,
    root_of,
    subtree_hash,
)

ENTRIES = tuple(number.to_bytes(4) for number in range(70_000))
SIZES = st.one_of(st.integers(0, 600), st.integers(0, len(ENTRIES)))


@cache
def naive_root(start: int, end: int) -> bytes:
    """MTH(D[start:end]), section 2.1."""
    count = end - start
    if count == 0:
        return hashlib.sha256(b"").digest()
    if count == 1:
        return hashlib.sha256(b"\x00" + ENTRIES[start]).digest()
    middle = start + naive_split(count)
    return hashlib.sha256(b"\x01" + naive_root(start, middle) + naive_root(middle, end)).digest()


def naive_split(count: int) -> int:
    split = 1
    while split * 2 < count:
        split *= 2
    return split


def naive_path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]), section 2.1.1; ``index`` counts from ``start``."""
    if end - start == 1:
        return []
    split = naive_split(end - start)
    middle = start + split
    if index < split:
        return [*naive_path(index, start, middle), naive_root(middle, end)]
    return [*naive_path(index - split, middle, end), naive_root(start, middle)]


def naive_subproof(old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b), section 2.1.2."""
    if old == end - start:
        return [] if whole else [naive_root(start, end)]
    split = naive_split(end - start)
    middle = start + split
    if old <= split:
        return [*naive_subproof(old, start, middle, whole=whole), naive_root(middle, end)]
    return [*naive_subproof(old - split, middle, end, whole=False), naive_root(start, middle)]


@cache
def stored() -> dict[tuple[int, int], bytes]:
    """All hashes that tiles are made of, as the sequencer stores them and the reader derives the lowest."""
    leaves = {(0, position): hash_leaf(entry) for position, entry in enumerate(ENTRIES)}
    return leaves | grow(0, (), ENTRIES).stored


@settings(deadline=None)
@given(SIZES, st.data())
def test_a_tree_that_grows_in_batches_has_the_naive_root(size: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, size))
    first = grow(0, (), ENTRIES[:cut])
    second = grow(first.size, first.frontier, ENTRIES[cut:size])
    assert second.size == size
    assert root_of(second.frontier) == naive_root(0, size)
    assert first.stored | second.stored == {
        (level, position): naive_root(position << 8 * level, (position + 1) << 8 * level)
        for level in (1, 2)
        for position in range(size >> 8 * level)
    }


@settings(deadline=None)
@given(st.integers(1, len(ENTRIES)), st.data())
def test_inclusion_proofs_are_those_of_the_rfc(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    subtrees = inclusion_subtrees(index, size)
    proof = [subtree_hash(subtree, stored().__getitem__) for subtree in subtrees]
    assert proof == naive_path(index, 0, size)


@settings(deadline=None)
@given(st.integers(1, len(ENTRIES)), st.data())
def test_consistency_proofs_are_those_of_the_rfc(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    subtrees = consistency_subtrees(old, size)
    proof = [subtree_hash(subtree, stored().__getitem__) for subtree in subtrees]
    assert proof == naive_subproof(old, 0, size, whole=True)


@pytest.mark.parametrize("size", range(1, 20))
def test_every_small_tree(size: int) -> None:
    read = stored().__getitem__
    for index in range(size):
        subtrees = inclusion_subtrees(index, size)
        assert [subtree_hash(tree, read) for tree in subtrees] == naive_path(index, 0, size)
        old = index + 1
        proof = [subtree_hash(tree, read) for tree in consistency_subtrees(old, size)]
        assert proof == naive_subproof(old, 0, size, whole=True)


@settings(deadline=None)
@given(st.integers(1, len(ENTRIES)), st.data())
def test_a_proof_reads_what_it_says_it_needs_and_no_more_than_two_tiles_a_level(
    size: int, data: st.DataObject
) -> None:
    subtrees = inclusion_subtrees(data.draw(st.integers(0, size - 1)), size)
    needed = {
        (level, position)
        for level, first, after_last in needed_hashes(subtrees)
        for position in range(first, after_last)
    }
    read: set[tuple[int, int]] = set()

    def note(coordinate: tuple[int, int]) -> bytes:
        read.add(coordinate)
        return stored()[coordinate]

    for subtree in subtrees:
        subtree_hash(subtree, note)
    assert read == needed
    for level in range(3):
        assert len([at for at in read if at[0] == level]) <= 2 * 256


def test_the_empty_tree() -> None:
    assert root_of(()) == EMPTY_ROOT == naive_root(0, 0)
    assert consistency_subtrees(0, 5) == []
    assert consistency_subtrees(5, 5) == []


def test_trees_beyond_memory_have_proofs_as_well() -> None:
    assert inclusion_subtrees(2**62, 2**63 - 1)[-1] == Subtree(0, 2**62)
    assert len(consistency_subtrees(2**62 + 1, 2**63 - 1)) < 128


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="frontier"):
        grow(3, (b"x" * 32,), [])
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(ValueError, match="entries has none"):
            inclusion_subtrees(index, size)
    for old, size in ((6, 5), (-1, 5)):
        with pytest.raises(ValueError, match="was never one"):
            consistency_subtrees(old, size)
