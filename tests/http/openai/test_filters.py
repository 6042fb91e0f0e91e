"""Filters as requests have them: what is none is refused by name, and none is too large to be asked for."""

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from undercroft.http.errors import as_undercroft_error
from undercroft.http.routes.search import Search
from undercroft.http.wire import Attributes
from undercroft.kit.errors import ErrorKind
from undercroft.kit.ids import IdSource, render_id
from undercroft.retrieval.filters import Comparison, Compound, Filter, Membership

_ID = IdSource().new()


def read(filters: object) -> Filter:
    """A filter, as a route has it."""
    body = Search.model_validate_json(json.dumps({"query": "mill", "filters": filters}))
    assert body.filters is not None
    return body.filters.as_filter()


def compare(key: str = "a", value: object = 1, kind: str = "eq") -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


def join(*filters: object, kind: str = "and") -> dict[str, Any]:
    return {"type": kind, "filters": list(filters)}


def nest(depth: int) -> dict[str, Any]:
    return compare() if depth == 1 else join(nest(depth - 1))


def test_comparisons_and_compounds_are_read() -> None:
    asked = join(compare("a", "x"), join(compare("b", [1, "y"], "in"), kind="or"))
    assert read(asked) == Compound(
        "and",
        [Comparison("eq", "a", "x"), Compound("or", [Membership("in", "b", [1.0, "y"])])],
    )
    assert read(compare("flag", True, "ne")) == Comparison("ne", "flag", True)


def test_ids_are_read_as_the_database_has_them() -> None:
    document = render_id("file-", _ID)
    assert read(compare("undercroft.document", document)) == Comparison(
        "eq", "undercroft.document", str(_ID)
    )
    collections = compare("undercroft.collection", [render_id("vs_", _ID)], "nin")
    assert read(collections) == Membership("nin", "undercroft.collection", [str(_ID)])


def test_the_largest_filter_is_read() -> None:
    read(nest(8))
    read(join(*[compare()] * 199))
    read(compare(value=["x" * 512] * 200, kind="in"))


@pytest.mark.parametrize(
    ("filters", "param"),
    [
        (5, "filters"),
        ([], "filters"),
        ({}, "filters"),
        ({"type": ["eq"], "key": "a", "value": 1}, "filters"),
        (compare(kind="like"), "filters"),
        ({"type": "eq", "value": 1}, "filters.key"),
        ({"type": "eq", "key": "a"}, "filters.value"),
        (compare(key=""), "filters.key"),
        (compare(key="k" * 65), "filters.key"),
        (compare(value="v" * 513), "filters.value"),
        (compare(value=None), "filters.value"),
        (compare(value={"a": 1}), "filters.value"),
        (compare(value=["a"]), "filters.value"),
        (compare(value=10**400), "filters.value"),
        (compare(value="a", kind="in"), "filters.value"),
        (compare(value=[], kind="in"), "filters.value"),
        (compare(value=[["a"]], kind="nin"), "filters.value.0"),
        (compare(value=True, kind="gt"), "filters"),
        ({**compare(), "filters": []}, "filters.filters"),
        (join(), "filters.filters"),
        (join(compare(), compare(kind="and")), "filters.filters.1.filters"),
        (join(compare(), {"type": "eq"}), "filters.filters.1.key"),
        (nest(9), "filters"),
        (nest(30), "filters"),
        (join(*[compare()] * 200), "filters"),
        (join(*[compare(value=[1] * 100, kind="in")] * 3), "filters"),
        (compare("undercroft.owner", "ann"), "filters"),
        (compare("undercroft.", "ann"), "filters"),
        (compare("undercroft.created_at", "2026"), "filters"),
        (compare("undercroft.created_at", True), "filters"),
        (compare("undercroft.media_type", 1), "filters"),
        (compare("undercroft.document", "file-0"), "filters"),
        (compare("undercroft.document", render_id("vs_", _ID)), "filters"),
        (compare("undercroft.document", render_id("file-", _ID), "gt"), "filters"),
    ],
)
def test_what_is_no_filter_is_refused_by_name(filters: object, param: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(filters)
    problems = [{**each, "loc": ("body", *each["loc"])} for each in refused.value.errors()]
    error = as_undercroft_error(RequestValidationError(problems))
    assert error is not None
    assert (error.kind, error.param) == (ErrorKind.INVALID_REQUEST, param)
    assert len(error.message) < 600


def test_no_attribute_has_the_name_of_what_every_document_has() -> None:
    attributes = TypeAdapter(Attributes)
    assert attributes.validate_python({"undercroft": "x", "a.undercroft.": "y"})
    with pytest.raises(ValidationError, match="names what every document has"):
        attributes.validate_python({"undercroft.created_at": "x"})
