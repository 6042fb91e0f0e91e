"""No cell of an exported table is a formula to a spreadsheet."""

import pytest

from undercroft.http.routes.audit import _cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_a_formula_becomes_a_text(text: str) -> None:
    assert _cell(text) == f"'{text}"


@pytest.mark.parametrize(("value", "cell"), [(None, ""), (7, "7"), ("a=b", "a=b"), ("'", "'")])
def test_other_values_stay_as_they_are(value: object, cell: str) -> None:
    assert _cell(value) == cell
