"""What can be done: the same in the code that does it, in the type that it is checked against and in the docs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from undercroft.ledger import actions
from undercroft.ledger.actions import ACTIONS

_ROOT = Path(__file__).parents[2]
_SOURCE = _ROOT / "src" / "undercroft"


def _texts() -> Iterator[str]:
    """Every text in the source but those of the list itself."""
    for path in _SOURCE.rglob("*.py"):
        if path == Path(actions.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_docs_list_every_action_and_no_other() -> None:
    page = (_ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Actions$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = [action for row in rows for action in re.findall(r"`([^`]+)`", row)]
    assert sorted(listed) == sorted(ACTIONS)


def test_every_action_is_done_somewhere() -> None:
    assert set() == ACTIONS - set(_texts())


def test_actions_are_short_lower_case_words_with_a_dot_between() -> None:
    assert [action for action in ACTIONS if not re.fullmatch(r"[a-z_]+\.[a-z_]+", action)] == []
    assert max(map(len, ACTIONS)) <= 64
