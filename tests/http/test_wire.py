"""What request bodies share: nothing unknown, nothing guessed, nothing that PostgreSQL cannot hold."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from undercroft.http.wire import (
    Attributes,
    AttributeValue,
    Metadata,
    RequestBody,
    StorableText,
    page_of,
    render_value,
    require_id,
)
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.vault.schemas.json_text import parse_json


class Body(RequestBody):
    text: str = ""
    number: int = 0
    share: float = 0.0
    flag: bool = False
    anything: dict[str, Any] | None = None


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def has_unstorable_text(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(map(has_unstorable_text, [*value.keys(), *value.values()]))
    return isinstance(value, list) and any(map(has_unstorable_text, value))


@given(value=st.dictionaries(st.text(), _JSON))
def test_a_body_is_taken_exactly_when_it_can_be_stored(value: dict[str, Any]) -> None:
    if has_unstorable_text(value):
        with pytest.raises(ValidationError):
            Body.model_validate({"anything": value})
    else:
        assert Body.model_validate({"anything": value}).anything == value


def test_a_body_of_too_many_values_is_refused_before_each_gets_an_error() -> None:
    full: dict[str, Any] = {"anything": {"a": [1] * 19_997}}
    assert Body.model_validate(full).anything == full["anything"]
    for body in (
        {"anything": {"a": [1] * 19_998}},
        {f"unknown{number}": 1 for number in range(20_000)},
        {"anything": {"a": [[]] * 10_000, "b": [{}] * 10_000}},
        {"text": ["wrong"] * 20_000},
        [{}] * 20_000,
    ):
        with pytest.raises(ValidationError) as refused:
            Body.model_validate(body)
        assert [error["type"] for error in refused.value.errors()] == ["too_many_values"]


@pytest.mark.parametrize("text", ["a\x00b", "\x00", "\ud800", "a\udfffb", "\udc00\ud800"])
def test_unstorable_text_is_refused_wherever_it_stands(text: str) -> None:
    for body in ({"text": text}, {text: 1}, {"anything": {"a": [{text: 1}]}}, {"text": [text]}):
        with pytest.raises(ValidationError):
            Body.model_validate(body)
    with pytest.raises(ValidationError):
        TypeAdapter(StorableText).validate_python(text)


@pytest.mark.parametrize("text", ["", "é", "\U0001f600", "\u2028", "\ufffe", "\x01\x1f\x7f"])
def test_odd_text_that_can_be_stored_is_taken(text: str) -> None:
    assert Body.model_validate({"text": text}).text == text
    assert TypeAdapter(StorableText).validate_python(text) == text


def test_what_is_nested_too_deep_is_refused_and_not_followed() -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for _ in range(depth):
            value = {"a": value}
        return value

    assert Body.model_validate({"anything": nested(60)}).anything
    for depth in (64, 100_000):
        with pytest.raises(ValidationError, match="nested deeper"):
            Body.model_validate({"anything": nested(depth)})


@pytest.mark.parametrize(
    "body",
    [
        {"number": "5"},
        {"number": True},
        {"number": 5.5},
        {"share": "0.5"},
        {"flag": 0},
        {"flag": "true"},
        {"text": 5},
        {"unknown": 1},
    ],
)
def test_nothing_is_guessed(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Body.model_validate(body)


def test_a_whole_number_is_a_number() -> None:
    assert Body.model_validate({"share": 1}).share == 1.0


def test_metadata_and_attributes_are_bounded() -> None:
    metadata, attributes = TypeAdapter(Metadata), TypeAdapter(Attributes)
    assert attributes.validate_python({"a": True, "b": "text", "c": 1.5})
    for wrong in (
        {"": "empty name"},
        {"n" * 65: "long name"},
        {"a": "v" * 513},
        {str(number): "many" for number in range(17)},
        {"a": None},
    ):
        with pytest.raises(ValidationError):
            metadata.validate_python(wrong)
        with pytest.raises(ValidationError):
            attributes.validate_python(wrong)
    for number in (float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            attributes.validate_python({"a": number})


@given(text=st.text())
@example("\ud800")
@example("é" * 100_000)
def test_what_is_no_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFoundError) as missing:
        require_id("file-", "file", text)
    missing.value.message.encode()
    assert len(missing.value.message) < 200


def test_an_id_is_read_back() -> None:
    value = IdSource().new()
    assert require_id("file-", "file", render_id("file-", value)) == value


@pytest.mark.parametrize(("count", "shown", "more"), [(0, 0, False), (2, 2, False), (3, 2, True)])
def test_a_page_knows_whether_there_is_more(count: int, shown: int, more: bool) -> None:
    page = page_of([{"id": str(number)} for number in range(count)], 2)
    assert len(page["data"]) == shown
    assert page["has_more"] is more
    assert page["first_id"] == ("0" if shown else None)
    assert page["last_id"] == (str(shown - 1) if shown else None)


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (2024.0, "2024"),
        (2.5, "2.5"),
        (True, "true"),
        ("a", '"a"'),
        (int(1e300), "1e+300"),
        (2**53, "9007199254740992.0"),
    ],
)
def test_an_attribute_is_shown_so_that_it_can_be_sent_again(
    kept: AttributeValue, shown: str
) -> None:
    text = json.dumps(render_value(kept))
    assert text == shown
    assert parse_json(text) == kept
