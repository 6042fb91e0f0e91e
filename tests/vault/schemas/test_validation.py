"""Schemas are hostile input: what is none, reaches outside or could cost too much is refused when it is made."""

import time
from typing import Any

import pytest

from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.schemas.errors import (
    CheckTooCostlyError,
    InvalidSchemaError,
    SchemaMismatchError,
)
from undercroft.vault.schemas.models import Definition
from undercroft.vault.schemas.validation import SchemaValidator, check_definition
from undercroft.vault.schemas.weights import positions


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return schema


def branching(levels: int) -> dict[str, Any]:
    """Two references to the level below, each level: 2^levels checks of one value."""
    definitions: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)
    }
    definitions[f"d{levels}"] = {"type": "object"}
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


HOSTILE: dict[str, dict[str, Any]] = {
    "remote": {"$ref": "https://example.org/a.json"},
    "file": {"$ref": "file:///etc/passwd"},
    "relative": {"$ref": "other.json#/a"},
    "anchor": {"$ref": "#a", "$anchor": "a"},
    "dangling": {"$ref": "#/$defs/nothing"},
    "into nothing": {"$ref": "#/$defs/a/0/b", "$defs": {"a": [True]}},
    "another base": {"properties": {"a": {"$id": "https://example.org/", "$ref": "#"}}},
    "dynamic": {"$dynamicRef": "#a"},
    "another dialect": {"$schema": "http://json-schema.org/draft-07/schema#"},
    "endless": {"$ref": "#"},
    "endless in two": {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#"}]}}},
    "branching": branching(20),
    "wide": {"anyOf": [{"type": "string"}] * 300},
    "looking twice at each level": {
        "$defs": {
            "a": {
                "properties": {"x": {"$ref": "#/$defs/a"}},
                "unevaluatedProperties": {"$ref": "#/$defs/a"},
            }
        },
        "$ref": "#/$defs/a",
    },
    "many": {"properties": {str(n): {} for n in range(3_000)}},
    "long names": {"properties": {"k" * 3_000: {"properties": {str(n): {} for n in range(1_900)}}}},
    "large": {"description": "x" * 70_000},
    "no type": {"type": "number of things"},
    "no schema": {"properties": 1},
    "pattern": {"pattern": "("},
    "look-ahead": {"pattern": "(?=a)b"},
    "back reference": {"pattern": r"(a)\1"},
    "long pattern": {"pattern": "a" * 501},
    "huge pattern": {"pattern": "(a{1000}){1000}"},
    "many patterns": {"patternProperties": {f"a{n}": {} for n in range(101)}},
    "property pattern": {"patternProperties": {"(": {}}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused(name: str) -> None:
    with pytest.raises(InvalidSchemaError) as refused:
        SchemaValidator(HOSTILE[name])
    assert len(refused.value.message) < 1_000
    assert refused.value.param is not None


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema"},
        nested(15),
        branching(5),
        {"oneOf": [{"const": n} for n in range(100)]},
        {"properties": {"child": {"$ref": "#"}, "children": {"items": {"$ref": "#"}}}},
        {"properties": {"a": {"pattern": "^[a-z]{1,20}$"}, "$ref": {"type": "string"}}},
        {"enum": [{"$ref": "#/nothing"}]},
    ],
)
def test_a_reasonable_schema_is_taken(schema: dict[str, Any]) -> None:
    SchemaValidator(schema)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){12}$", "([a-z]+)*[0-9]"])
def test_no_pattern_takes_time_that_grows_with_more_than_the_text(pattern: str) -> None:
    validator = SchemaValidator({"properties": {"text": {"pattern": pattern}}})
    started = time.process_time()
    with pytest.raises(SchemaMismatchError):
        validator.check({"text": "a" * 50_000 + "!"})
    assert time.process_time() - started < 2


ITEMS = [1] * 19_000
COSTLY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a long enumeration of numbers": (
        {"properties": {"a": {"items": {"enum": [n + 0.5 for n in range(8_000)]}}}},
        {"a": [7_999.5] * 19_000},
    ),
    "a long enumeration of this and that": (
        {"properties": {"a": {"not": {"contains": {"enum": [{}, *map(str, range(8_000))]}}}}},
        {"a": ["none of them"] * 9_000},
    ),
    "alternatives that are numbers": (
        {"properties": {"a": {"items": {"oneOf": [{"const": n + 0.25} for n in range(100)]}}}},
        {"a": [7.25] * 19_000},
    ),
    "numbers that are far apart": (
        {"properties": {"a": {"items": {"enum": [1e-306, 1e-305, 1e300]}}}},
        {"a": [1e300] * 19_000},
    ),
    "unique items in many short arrays": (
        {"properties": {"a": {"items": {"allOf": [{"uniqueItems": True}] * 9}}}},
        {"a": [[n + 0.5 for n in range(15)]] * 1_200},
    ),
    "names that need names": (
        {"properties": {"a": {"items": {"dependentRequired": {str(n): [] for n in range(5_000)}}}}},
        {"a": [{"b": 1}] * 9_000},
    ),
    "fractions of huge numbers": (
        {"properties": {"a": {"items": {"allOf": [{"multipleOf": 0.01}] * 30}}}},
        {"a": [1e308] * 9_000},
    ),
    "a pattern in which a text is at many places": (
        {"properties": {"a": {"pattern": "^(?:[01]*1[01]{900})x$"}}},
        {"a": "0111010001101" * 19_000},
    ),
    "many names that many patterns look at": (
        {"patternProperties": {f"^[01]*1[01]{{{n}}}x$": {} for n in range(40, 90)}},
        {f"{n:064b}": 1 for n in range(3_000)},
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_would_hold_the_process_up_is_refused_unchecked(name: str) -> None:
    schema, data = COSTLY[name]
    validator = SchemaValidator(schema)
    with pytest.raises(CheckTooCostlyError):
        validator.check(data)
    few = {key: value[:1] if isinstance(value, list) else value for key, value in data.items()}
    if few != data:
        validator.check(few)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"items": {"allOf": [{"type": "string"}] * 10}}}},
        {"properties": {"a": {"items": {"enum": list(map(str, range(1_000)))}}}},
        {"properties": {"a": {"anyOf": [{"items": {"type": "string"}}, {"type": "null"}]}}},
        {"oneOf": [{"properties": {"a": {"items": {"enum": ["x" * 1_000]}}}}, False]},
    ],
)
def test_that_all_is_wrong_costs_no_more_than_that_one_thing_is(schema: dict[str, Any]) -> None:
    validator = SchemaValidator(schema)
    started = time.process_time()
    with pytest.raises(SchemaMismatchError):
        validator.check({"a": ITEMS})
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"properties": {"a": {"items": {"enum": list(map(str, range(8_000)))}}}}, ["7"] * 19_000),
        ({"properties": {"a": {"items": {"enum": [*map(str, range(250)), None]}}}}, ["7"] * 5_000),
        ({"properties": {"a": {"items": {"multipleOf": 0.01}}}}, [19.5] * 10_000),
        ({"properties": {"a": {"items": {"pattern": "^[^@]+@[^@]+[.][a-z]{2,9}$"}}}}, ["a@b.cd"]),
    ],
)
def test_large_records_of_ordinary_schemas_are_checked(
    schema: dict[str, Any], data: list[object]
) -> None:
    SchemaValidator(schema).check({"a": data})


@pytest.mark.parametrize(
    ("pattern", "most"),
    [
        ("abc", 3),
        ("a{20}", 25),
        ("a{2,}", 7),
        ("a{2,30}", 37),
        ("(ab){10}", 80),
        ("(a{10}){10}", 210),
        ("a{10}{10}", 190),
    ],
)
def test_repetitions_are_counted_as_what_they_stand_for(pattern: str, most: int) -> None:
    assert positions(pattern) == most


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"text": 7351}, "/text"),
        ({"text": "7351 is long"}, "/text"),
        ({"mail": "7351"}, "/mail"),
        ({"kind": "7351"}, "/kind"),
        ({"list": [1, {"deep": "7351"}]}, "/list/1/deep"),
        ({"a/b~c": "7351"}, "/a~1b~0c"),
        ({"7351": 1}, None),
        ({"list": ["7351", "7351"]}, "/list"),
        ({"number": 7351}, "/number"),
    ],
)
def test_a_mismatch_names_the_place_and_quotes_nothing(
    data: dict[str, Any], param: str | None
) -> None:
    validator = SchemaValidator(
        {
            "properties": {
                "text": {"type": "string", "maxLength": 5},
                "mail": {"format": "email"},
                "kind": {"enum": ["a", "b"]},
                "list": {"uniqueItems": True, "items": {"properties": {"deep": {"type": "null"}}}},
                "a/b~c": {"const": 1},
                "number": {"maximum": 5, "multipleOf": 2},
            },
            "additionalProperties": False,
        }
    )
    with pytest.raises(SchemaMismatchError) as refused:
        validator.check(data)
    assert "7351" not in refused.value.message
    assert refused.value.param == param


@pytest.mark.parametrize(
    "definition",
    [
        Definition({}, plain_fields=("/a",), sensitive_fields=("/a",)),
        Definition({}, plain_fields=("/a/b",), sensitive_fields=("/a",)),
        Definition({}, plain_fields=("/a",), sensitive_fields=("/a/b",)),
        Definition({}, plain_fields=("/a",), indexed_fields=("/a",)),
        Definition({}, sensitive_fields=("/a", "/a/b")),
        Definition({}, sensitive_fields=("/a", "/a")),
        Definition({}, sensitive_fields=("",)),
        Definition({}, sensitive_fields=("a",)),
        Definition({}, sensitive_fields=("/~2",)),
        Definition({}, indexed_fields=tuple(f"/{n}" for n in range(33))),
        Definition({}, indexed_fields=("/" + "x" * 256,)),
    ],
)
def test_fields_that_contradict_each_other_are_refused(definition: Definition) -> None:
    with pytest.raises(InvalidRequestError):
        check_definition(definition)


def test_fields_may_be_sensitive_and_indexed() -> None:
    check_definition(
        Definition({}, plain_fields=("/ab",), sensitive_fields=("/a",), indexed_fields=("/a",))
    )
