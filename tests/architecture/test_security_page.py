"""docs/security.md is a checked list: every requirement stands there once, and every test that it names exists."""

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.test_files import ROOT

PAGE: Final = ROOT / "docs" / "security.md"
STATES: Final = ("held", "in part", "not", "does not apply")
SHOWN: Final = frozenset({"held", "in part"})
"""What has a test."""
REASONED: Final = frozenset({"in part", "not", "does not apply"})
"""What has a reason."""
SECTIONS: Final = {
    6: (3, 12, 8, 6, 8, 4, 2, 4),
    7: (3, 4, 2, 5, 3, 2),
    8: (4, 4, 3, 2),
    9: (3, 4),
    10: (2, 3, 5, 16, 5, 2, 3),
    11: (4, 5, 5, 4, 2, 2, 2),
    16: (1, 5, 4, 3, 4),
}
"""How many requirements of all levels each section of ASVS 5.0.0 has."""
CHANNELS: Final = {
    "Counts",
    "Timings of 404 against 403",
    "Suggestions and spelling corrections",
    "Facets",
    "Error texts",
    "Scores",
    "Citation ids",
    "Cache hits",
    "Embedding neighbours",
    "Total tokens",
}
"""By which what is hidden could show: each has a line of the page with tests."""
_ROW: Final = re.compile(
    r"^\| (?P<number>API\d+:2023|\d+\.\d+\.\d+) \| (?P<asks>[^|]+) \| (?P<state>[^|]+) \|(?P<rest>.*)\|$"
)
_CHANNEL: Final = re.compile(r"^\| (?P<number>[A-Z][a-z][^|]+) \|(?P<rest>.*)\|$")
_TEST: Final = re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")


@dataclass(frozen=True)
class Line:
    """One requirement of the page."""

    number: str
    state: str
    tests: tuple[tuple[str, str], ...]
    reason: str


def read_lines(text: str) -> list[Line]:
    """The requirements of a page, in its order."""
    rows = (_ROW.match(line) for line in text.splitlines())
    return [
        Line(
            row["number"],
            row["state"].strip(),
            tuple(_TEST.findall(row["rest"])),
            _TEST.sub("", row["rest"]).strip(" ,."),
        )
        for row in rows
        if row is not None
    ]


def read_channels(text: str) -> list[Line]:
    """The side channels of a page, in its order."""
    section = text.split("\n## Side channels\n")[1].split("\n## ", maxsplit=1)[0]
    rows = (_CHANNEL.match(line) for line in section.splitlines())
    return [
        Line(row["number"], "held", tuple(_TEST.findall(row["rest"])), "")
        for row in rows
        if row is not None and row["number"] != "Channel"
    ]


def find_faults(lines: list[Line], folder: Path) -> list[str]:
    """What is wrong with lines whose links start from a folder."""
    counts = Counter(line.number for line in lines)
    faults = [f"{number}: twice" for number, count in counts.items() if count > 1]
    for line in lines:
        if line.state not in STATES:
            faults.append(f"{line.number}: no state {line.state!r}")
        if line.state in SHOWN and not line.tests:
            faults.append(f"{line.number}: no test")
        if line.state in REASONED and not line.reason:
            faults.append(f"{line.number}: no reason")
        faults += [
            f"{line.number}: no {name} in {path}"
            for name, path in line.tests
            if name not in _tests((folder / path).resolve())
        ]
    return faults


@cache
def _tests(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _required() -> set[str]:
    asvs = {
        f"{chapter}.{section}.{number}"
        for chapter, sections in SECTIONS.items()
        for section, count in enumerate(sections, start=1)
        for number in range(1, count + 1)
    }
    return asvs | {f"API{number}:2023" for number in range(1, 11)}


def test_the_page_has_no_fault() -> None:
    assert find_faults(read_lines(PAGE.read_text(encoding="utf-8")), PAGE.parent) == []


def test_every_side_channel_has_a_line_with_tests() -> None:
    channels = read_channels(PAGE.read_text(encoding="utf-8"))
    assert {channel.number for channel in channels} == CHANNELS
    assert find_faults(channels, PAGE.parent) == []


def test_every_requirement_has_a_line() -> None:
    numbers = {line.number for line in read_lines(PAGE.read_text(encoding="utf-8"))}
    assert _required() - numbers == set()


def test_every_row_of_the_tables_is_read() -> None:
    rows = re.findall(r"^\| (?:API)?\d.*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(read_lines("\n".join(rows)))


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["| 6.1.1 | Asks | held | [`test_here`](test_a.py) |"], None),
        (["| 6.1.1 | Asks | held | [`test_gone`](test_a.py) |"], "no test_gone in test_a.py"),
        (["| 6.1.1 | Asks | held | [`test_here`](test_b.py) |"], "no test_here in test_b.py"),
        (["| 6.1.1 | Asks | held | It is so. |"], "no test"),
        (["| 6.1.1 | Asks | in part | [`test_here`](test_a.py) |"], "no reason"),
        (["| 6.1.1 | Asks | not | |"], "no reason"),
        (["| 6.1.1 | Asks | nearly | A reason. |"], "no state 'nearly'"),
        (["| 6.1.1 | Asks | not | A reason. |"] * 2, "twice"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, rows: list[str], fault: str | None) -> None:
    (tmp_path / "test_a.py").write_text("async def test_here() -> None: ...\n")
    found = find_faults(read_lines("\n".join(rows)), tmp_path)
    assert found == ([] if fault is None else [f"6.1.1: {fault}"])
