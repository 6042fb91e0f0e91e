"""Fused scores are made of ranks alone."""

from hypothesis import given
from hypothesis import strategies as st

from undercroft.retrieval.ranking import RRF_K, reciprocal_rank_fusion, reorder

RANKINGS = st.lists(
    st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=20), min_size=1, max_size=4
)


def test_the_formula_is_the_papers() -> None:
    fused = dict(reciprocal_rank_fusion([["a", "b"], ["b", "c"]]))
    best = 2 / 61
    assert fused["a"] == (1 / 61) / best
    assert fused["b"] == (1 / 62 + 1 / 61) / best
    assert fused["c"] == (1 / 62) / best


@given(RANKINGS)
def test_every_item_comes_once_best_first_between_nought_and_one(
    rankings: list[list[int]],
) -> None:
    fused = reciprocal_rank_fusion(rankings)
    assert sorted(item for item, _ in fused) == sorted(
        {it for ranking in rankings for it in ranking}
    )
    scores = [score for _, score in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    firsts = {ranking[0] for ranking in rankings}
    assert (scores[0] == 1) is (len(firsts) == 1)


@given(st.lists(st.integers(), unique=True, min_size=1))
def test_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    assert [item for item, _ in reciprocal_rank_fusion([ranking])] == ranking


def test_a_tie_keeps_the_order_of_first_appearance() -> None:
    assert [item for item, _ in reciprocal_rank_fusion([["z", "a"], ["a", "z"]])] == ["z", "a"]


def test_nothing_fuses_to_nothing() -> None:
    assert reciprocal_rank_fusion([]) == []
    assert RRF_K == 60


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 40), unique=True))
def test_reordering_moves_what_is_named_among_its_places_and_nothing_else(
    items: list[int], order: list[int]
) -> None:
    scored = {item: 1.0 - place / 100 for place, item in enumerate(items)}
    reordered = reorder(scored, order)
    assert list(reordered.values()) == list(scored.values())
    assert [item for item in reordered if item in order] == [
        item for item in order if item in scored
    ]
    for before, after in zip(scored, reordered, strict=True):
        assert before == after or {before, after} <= set(order)
