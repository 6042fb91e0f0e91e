"""Counting documents by a value, and putting them in an order by one."""

from uuid import UUID

from undercroft.retrieval.filters import Value
from undercroft.retrieval.search.describing import (
    MOST_VALUES,
    Described,
    Facet,
    Sort,
    count_values,
    put_in_order,
)

SCORES = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.5}


def described(*values: Value | None) -> list[Described]:
    """Documents of one passage each, by relevance."""
    return [
        Described(UUID(int=place), frozenset({place}), {} if value is None else {"a": value})
        for place, value in enumerate(values, 1)
    ]


def test_values_are_counted_the_most_frequent_first() -> None:
    known = [{"a": "x"}, {"a": "y", "b": True}, {"a": "y"}, {}, {"b": 1.0}]
    assert count_values(known, ["b", "a", "c"], is_capped=False) == [
        Facet("b", [(1.0, 1), (True, 1)], is_capped=False),
        Facet("a", [("y", 2), ("x", 1)], is_capped=False),
        Facet("c", [], is_capped=False),
    ]


def test_more_than_is_told_or_counted_is_said() -> None:
    known = [{"a": str(number)} for number in range(MOST_VALUES + 1)]
    (facet,) = count_values(known, ["a"], is_capped=False)
    assert (len(facet.counts), facet.is_capped) == (MOST_VALUES, True)
    assert count_values([], ["a"], is_capped=True) == [Facet("a", [], is_capped=True)]


def test_the_order_is_by_value_then_by_relevance_and_what_has_none_is_last() -> None:
    documents = described(2.0, None, 1.0, 2.0, "x")
    assert list(put_in_order(SCORES, documents, Sort("a"))) == [3, 1, 4, 5, 2]
    descending = put_in_order(SCORES, documents, Sort("a", is_descending=True))
    assert list(descending) == [5, 1, 4, 3, 2]
    assert descending == SCORES


def test_no_passage_is_lost_in_any_order() -> None:
    documents = described(True, "b", False, 0.0)
    assert list(put_in_order(SCORES, documents, Sort("a"))) == [4, 2, 3, 1, 5]
    assert list(put_in_order(SCORES, documents, Sort("b"))) == list(SCORES)
    assert put_in_order({}, documents, Sort("a")) == {}
