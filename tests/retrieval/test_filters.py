"""What PostgreSQL makes of a filter is what the filter means, whatever stands in it."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeScope
from tests.retrieval.filtering import filters, passes
from undercroft.kit.database import Database
from undercroft.retrieval.filters import (
    Comparison,
    Compound,
    Filter,
    Membership,
    Value,
    render_path,
)

_TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6)
_KEYS = st.sampled_from(("a", "b", "$", '"', "\\", "a b", "ß", "@", "x\n")) | _TEXTS.filter(bool)
_VALUES = (
    st.sampled_from(("", "a", '"', "\\", "$.a", "') || true", "true", "1", "é", "z", "\U0001f600"))
    | _TEXTS
    | st.booleans()
    | st.integers(-3, 3).map(float)
    | st.floats(allow_nan=False, allow_infinity=False)
)
_MATCHES = "SELECT coalesce($1::jsonb @@ $2::text::jsonpath, false)"


async def test_a_path_means_what_the_filter_means(
    database: Database, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    loop = asyncio.get_running_loop()

    async def matches(condition: Filter, known: dict[str, Value]) -> bool:
        async with database.transaction(scope) as transaction:
            found: bool = await transaction.fetchval(_MATCHES, known, render_path(condition))
            return found

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(filters(_KEYS, _VALUES), st.dictionaries(_KEYS, _VALUES, max_size=4))
    def check(condition: Filter, known: dict[str, Value]) -> None:
        found = asyncio.run_coroutine_threadsafe(matches(condition, known), loop).result(30)
        assert found == passes(condition, known), render_path(condition)

    await asyncio.to_thread(check)


@pytest.mark.parametrize(
    ("condition", "known", "expected"),
    [
        (Comparison("eq", "a", 1.0), {"a": 1}, True),
        (Comparison("eq", "a", 1.0), {"a": True}, False),
        (Comparison("eq", "a", "1"), {"a": 1}, False),
        (Comparison("ne", "a", "1"), {"a": 1}, True),
        (Comparison("ne", "a", "1"), {}, True),
        (Comparison("gt", "a", "2026-01"), {"a": "2026-01-05"}, True),
        (Comparison("lt", "a", 5.0), {"a": "4"}, False),
        (Comparison("lt", "a", 5.0), {}, False),
        (Membership("nin", "a", ["x"]), {}, True),
        (Membership("in", "a", ["x", 2.0]), {"a": 2}, True),
        (
            Compound("or", [Comparison("gt", "a", 5.0), Comparison("eq", "b", True)]),
            {"a": "x", "b": True},
            True,
        ),
    ],
)
async def test_a_missing_key_and_another_type_are_unlike_everything(
    database: Database,
    make_scope: MakeScope,
    condition: Filter,
    known: dict[str, Value],
    expected: bool,
) -> None:
    async with database.transaction(await make_scope()) as transaction:
        assert await transaction.fetchval(_MATCHES, known, render_path(condition)) is expected
    assert passes(condition, known) is expected
