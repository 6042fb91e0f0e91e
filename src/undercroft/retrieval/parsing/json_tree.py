"""JSON: one line for each value, as ``path: value``; a blank line between the elements of the outermost array."""

import json
from collections.abc import Iterator
from typing import Final, TypeAlias

from undercroft.retrieval.parsing.detection import JSON
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.text import TextBuilder, check_length, read_text

MAX_DEPTH: Final = 100

_Value: TypeAlias = "dict[str, _Value] | list[_Value] | str | bool | None"
_WHITESPACE: Final = " \t\r\n"


def parse_json(data: bytes, max_characters: int) -> ExtractedDocument:
    """Every value with the path that leads to it. Several values, one after the other (JSON Lines), are elements.

    Raises:
        ParseError: It is not valid JSON, or nested deeper than :data:`MAX_DEPTH`.
    """
    builder = TextBuilder(max_characters)
    try:
        values = list(_read_values(read_text(data, max_characters)))
    except json.JSONDecodeError as error:
        raise ParseError(
            ParseErrorCode.CORRUPT_FILE,
            f"This JSON file is invalid at line {error.lineno}, column {error.colno}. Correct it and upload it again.",
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    root = values[0] if len(values) == 1 else values
    elements = (
        [(f"[{index}]", element) for index, element in enumerate(root)]
        if isinstance(root, list)
        else [("", root)]
    )
    for path, element in elements:
        builder.add_block("\n".join(_lines(path, element, max_characters)))
    return builder.build(JSON, None)


def _read_values(text: str) -> Iterator[_Value]:
    # Numbers stay the digits that the file has: no rounding, and no quadratic time for a million of them.
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    at = 0
    while at < len(text):
        if text[at] in _WHITESPACE:
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        yield value


def _lines(path: str, value: _Value, max_characters: int) -> Iterator[str]:
    """The lines of one value, its members in order; a path is made when its turn comes, not before."""
    open_values = [iter([(path, value)])]
    characters = 0
    while open_values:
        member = next(open_values[-1], None)
        if member is None:
            open_values.pop()
            continue
        path, value = member
        if isinstance(value, (dict, list)) and value:
            if len(open_values) > MAX_DEPTH:
                raise _too_deep()
            open_values.append(_members(path, value))
        else:
            line = f"{path}: {_render(value)}" if path else _render(value)
            characters += len(line)
            check_length(characters, max_characters)
            yield line


def _members(path: str, value: "dict[str, _Value] | list[_Value]") -> Iterator[tuple[str, _Value]]:
    if isinstance(value, dict):
        return ((_join(path, key), member) for key, member in value.items())
    return ((f"{path}[{index}]", member) for index, member in enumerate(value))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _render(value: _Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _too_deep() -> ParseError:
    return ParseError(
        ParseErrorCode.TOO_COMPLEX,
        f"This JSON file is nested deeper than {MAX_DEPTH} levels. Flatten it and upload it again.",
    )
