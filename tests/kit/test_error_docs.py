"""``docs/errors.md`` has one section for each kind of error, with its status and its finer codes."""

import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from undercroft.http.errors import render_error
from undercroft.kit.errors import STATUS, ErrorKind, UndercroftError
from undercroft.retrieval.parsing.errors import ParseErrorCode

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def _sections() -> dict[str, str]:
    """Each kind's section by its heading, which is its anchor as well."""
    parts = re.split(r"^## ([a-z_]+)$", _PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _codes_in_source() -> set[str]:
    """Every finer code that the service raises an error with, given by name or as a parameter's default."""
    found: set[str] = {code.value for code in ParseErrorCode}
    for path in (_ROOT / "src" / "undercroft").rglob("*.py"):
        found.update(
            re.findall(r"\bcode(?:=|: str = )\"([a-z_]+)\"", path.read_text(encoding="utf-8"))
        )
    return found


def test_each_kind_has_its_section_in_the_order_of_the_registry() -> None:
    assert list(_sections()) == [kind.value for kind in STATUS]


@pytest.mark.parametrize("kind", ErrorKind)
def test_a_section_states_the_status_of_its_kind(kind: ErrorKind) -> None:
    stated = re.search(r"^Status (\d{3})\b", _sections()[kind.value], re.MULTILINE)
    assert stated is not None
    assert int(stated[1]) == STATUS[kind]


@pytest.mark.parametrize("kind", ErrorKind)
def test_the_type_of_a_problem_points_at_its_section(kind: ErrorKind) -> None:
    response = render_error("/elsewhere", UndercroftError("No.", kind=kind))
    anchor = json.loads(bytes(response.body))["type"].partition("#")[2]
    assert anchor in _sections()


def test_no_row_has_lost_its_table() -> None:
    parsed = MarkdownIt("commonmark").enable("table").parse(_PAGE)
    lost = [
        token.content for token in parsed if token.type == "inline" and token.content[:2] == "| "
    ]
    assert lost == []


def test_every_code_is_explained() -> None:
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", _PAGE, re.MULTILINE))
    assert _codes_in_source() - explained == set()
    assert explained - _codes_in_source() - {kind.value for kind in ErrorKind} == set()
