"""What filters mean, said a second time: in Python, of one document's attributes."""

from collections.abc import Mapping

from hypothesis import strategies as st

from undercroft.retrieval.filters import Comparison, Compound, Filter, Membership, Value


def passes(condition: Filter, known: Mapping[str, Value]) -> bool:  # noqa: PLR0911 - one for each
    """Whether a document of which this is known passes the filter."""
    match condition:
        case Compound("and", filters):
            return all(passes(each, known) for each in filters)
        case Compound("or", filters):
            return any(passes(each, known) for each in filters)
        case Membership("in", key, values):
            return any(_equal(known.get(key), value) for value in values)
        case Membership("nin", key, values):
            return not any(_equal(known.get(key), value) for value in values)
        case Comparison("eq", key, value):
            return _equal(known.get(key), value)
        case Comparison("ne", key, value):
            return not _equal(known.get(key), value)
        case Comparison(operator, key, value):
            return _in_order(operator, known.get(key), value)
        case _:
            raise AssertionError(condition)


def _is_of_one_type(left: Value | None, right: Value) -> bool:
    return left is not None and _kind(left) is _kind(right)


def _kind(value: Value) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _equal(left: Value | None, right: Value) -> bool:
    return _is_of_one_type(left, right) and left == right


def _in_order(operator: str, left: Value | None, right: Value) -> bool:
    if left is None or not _is_of_one_type(left, right):
        return False
    less, more = ("lt", "lte"), ("gt", "gte")
    first, second = (
        (left.encode("utf-8"), right.encode("utf-8"))
        if isinstance(left, str) and isinstance(right, str)
        else (left, right)
    )
    if first == second:
        return operator.endswith("e")
    is_less = first < second  # type: ignore[operator]
    return operator in (less if is_less else more)


def filters(
    keys: st.SearchStrategy[str], values: st.SearchStrategy[Value]
) -> st.SearchStrategy[Filter]:
    """Filters of these keys and values."""
    ordered = values.filter(lambda value: not isinstance(value, bool))
    leaves: st.SearchStrategy[Filter] = st.one_of(
        st.builds(Comparison, st.sampled_from(("eq", "ne")), keys, values),
        st.builds(Comparison, st.sampled_from(("gt", "gte", "lt", "lte")), keys, ordered),
        st.builds(
            Membership,
            st.sampled_from(("in", "nin")),
            keys,
            st.lists(values, min_size=1, max_size=3),
        ),
    )
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            Compound, st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=3)
        ),
        max_leaves=6,
    )
