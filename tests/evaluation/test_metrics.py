import math

import pytest

from undercroft.evaluation.metrics import ndcg, percentile, recall, reciprocal_rank

GRADES = {"a": 3, "b": 2, "c": 1, "d": 0, "e": -1}


def test_ndcg_is_the_discounted_gain_over_the_best_possible_one() -> None:
    gain = 1 / math.log2(2) + 3 / math.log2(4)
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["c", "unjudged", "a"], GRADES, 10) == pytest.approx(gain / ideal)
    assert ndcg(["c", "unjudged", "a"], GRADES, 10) == pytest.approx(0.525005, abs=1e-6)


def test_ndcg_of_the_best_order_is_one_and_of_nothing_relevant_zero() -> None:
    assert ndcg(["a", "b", "c", "d"], GRADES, 10) == pytest.approx(1.0)
    assert ndcg(["d", "e", "unjudged"], GRADES, 10) == 0.0
    assert ndcg([], GRADES, 10) == 0.0
    assert ndcg(["a"], {"a": 0}, 10) == 0.0


def test_ndcg_counts_only_the_ranks_up_to_the_cutoff_also_in_the_ideal() -> None:
    assert ndcg(["a", "x", "b"], GRADES, 1) == pytest.approx(1.0)
    assert ndcg(["x", "a", "b"], GRADES, 1) == 0.0
    many = {str(number): 1 for number in range(20)}
    assert ndcg([str(number) for number in range(10)], many, 10) == pytest.approx(1.0)


def test_recall_is_the_share_of_the_relevant_ones_that_was_found() -> None:
    assert recall(["c", "x", "d", "a"], GRADES, 100) == pytest.approx(2 / 3)
    assert recall(["x", "c", "a"], GRADES, 2) == pytest.approx(1 / 3)
    assert recall(["d"], {"d": 0}, 100) == 0.0


def test_a_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in (5, 1, 4, 2, 3, 10, 9, 8, 7, 6)]
    assert percentile(values, 0.5) == 5.0
    assert percentile(values, 0.95) == 10.0
    assert percentile([7.0], 0.5) == percentile([7.0], 0.95) == 7.0
    assert percentile([float(value) for value in range(1, 101)], 0.95) == 95.0
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_reciprocal_rank_is_of_the_first_relevant_document_within_the_cutoff() -> None:
    grades = {"a": 1, "b": 2, "c": 0}
    assert reciprocal_rank(["c", "x", "b", "a"], grades, 10) == 1 / 3
    assert reciprocal_rank(["c", "x", "b"], grades, 2) == 0.0
    assert reciprocal_rank([], grades, 10) == 0.0
