import random

import pytest

from undercroft.evaluation.bootstrap import mean_interval, paired_difference


def test_an_interval_is_the_same_at_every_run_and_holds_the_mean() -> None:
    draw = random.Random(3)
    values = [draw.random() for _ in range(200)]
    interval = mean_interval(values)
    assert interval == mean_interval(values)
    assert interval != mean_interval(values, seed=4)
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(sum(values) / 200)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    draw = random.Random(5)
    samples = [[draw.gauss(0.5, 0.2) for _ in range(40)] for _ in range(120)]
    intervals = [mean_interval(sample) for sample in samples]
    held = sum(interval.low <= 0.5 <= interval.high for interval in intervals)
    assert 0.88 <= held / 120 <= 0.99


def test_a_difference_is_of_pairs() -> None:
    """Questions differ more than the two configurations: unpaired, nothing would be clear."""
    draw = random.Random(7)
    first = {str(number): draw.random() for number in range(60)}
    second = {name: value - 0.05 for name, value in first.items()}
    second["asked of this one alone"] = 1.0
    difference = paired_difference(first, second)
    assert difference.is_clear
    assert difference.mean == pytest.approx(0.05)
    assert difference.high - difference.low < 0.001
    assert not paired_difference(first, first).is_clear


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="nothing"):
        paired_difference({"a": 1.0}, {"b": 1.0})
