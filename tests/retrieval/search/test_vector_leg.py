"""Rankings of several models' spaces become one, by ranks alone."""

from undercroft.retrieval.search.vector_leg import fuse_spaces


def test_spaces_are_fused_by_ranks_whatever_their_similarities_are() -> None:
    wide, narrow = {1: 0.9, 2: 0.8, 3: 0.7}, {4: 0.2, 5: 0.1}
    fused = fuse_spaces([wide, narrow], 10)
    assert list(fused) == [1, 4, 2, 5, 3]
    assert fused == {**wide, **narrow}
    assert list(fuse_spaces([wide, narrow], 3)) == [1, 4, 2]


def test_what_two_spaces_found_comes_first_and_has_one_similarity() -> None:
    assert list(fuse_spaces([{1: 0.9, 2: 0.8}, {2: 0.3, 6: 0.2}], 10).items()) == [
        (2, 0.8),
        (1, 0.9),
        (6, 0.2),
    ]


def test_one_space_stays_as_it_is() -> None:
    assert fuse_spaces([{7: 0.5, 8: 0.4}], 1) == {7: 0.5, 8: 0.4}
    assert fuse_spaces([], 10) == {}
