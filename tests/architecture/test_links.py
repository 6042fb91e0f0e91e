"""Every relative link and anchor in the project's Markdown leads somewhere."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.architecture.test_files import ROOT, project_files

_DATA: Final = (Path("samples/documents"), Path("samples/sources"))
"""What people would upload; not pages of ours."""
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_HTML_LINK: Final = re.compile(r"""\b(?:href|src|srcset)=["']([^"']+)["']""")
_HTML_ANCHOR: Final = re.compile(r"""\b(?:id|name)=["']([^"']+)["']""")


def find_broken_links(root: Path, files: Iterable[Path]) -> list[str]:
    """What each page points at that is not there; addresses on other hosts are not looked at."""
    return [
        f"{file}: {link}"
        for file in files
        if file.suffix == ".md" and not any(file.is_relative_to(folder) for folder in _DATA)
        for link in _links(_tokens(root / file))
        if not _ELSEWHERE.match(link) and not _leads_somewhere(root, root / file, link)
    ]


def _leads_somewhere(root: Path, page: Path, link: str) -> bool:
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not target.is_relative_to(root.resolve()):
        return False
    return not anchor or (target.suffix == ".md" and anchor in _anchors(target))


@cache
def _tokens(page: Path) -> tuple[Token, ...]:
    parser = MarkdownIt("commonmark").enable("table")
    return tuple(parser.parse(page.read_text(encoding="utf-8")))


def _links(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in {"html_block", "html_inline"}:
            yield from _HTML_LINK.findall(token.content)
        for name in ("href", "src"):
            if token.type in {"link_open", "image"} and name in token.attrs:
                yield str(token.attrs[name])
        yield from _links(token.children or ())


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page: its headings', and those written as HTML."""
    anchors: set[str] = set()
    tokens = _tokens(page)
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            anchor = _slug(following)
            repetition = sum(
                re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", it) is not None for it in anchors
            )
            anchors.add(f"{anchor}-{repetition}" if repetition else anchor)
        if token.type == "html_block":
            anchors.update(_HTML_ANCHOR.findall(token.content))
    return anchors


def _slug(heading: Token) -> str:
    words = "".join(
        it.content for it in heading.children or () if it.type in {"text", "code_inline"}
    )
    return re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")


def test_no_link_is_broken() -> None:
    assert find_broken_links(ROOT, project_files(ROOT)) == []


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("other.md", False),
        ("./other.md#two-words", False),
        ("other.md#two-words-1", False),
        ("other.md#spare_key", False),
        ("#here", False),
        ("folder/", False),
        ("with%20space.txt", False),
        ("https://example.org/nothing", False),
        ("mailto:a@example.org", False),
        ("missing.md", True),
        ("other.md#three-words", True),
        ("#there", True),
        ("../outside.md", True),
        ("with%20space.txt#line", True),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, link: str, *, is_broken: bool) -> None:
    root = tmp_path / "project"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "outside.md").touch()
    (root / "with space.txt").touch()
    (root / "other.md").write_text("# Two, `words`!\n\n## Two words\n\n## spare_key\n")
    (root / "page.md").write_text(f"# Here\n\nA [link]({link}) to follow.\n")
    found = find_broken_links(root, [Path("page.md")])
    assert found == ([f"page.md: {link}"] if is_broken else [])


def test_links_in_tables_images_and_html_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "| a |\n| --- |\n| [b](gone.md) |\n\n![c](gone.svg)\n\n<img src='gone.png' alt=''>\n\n`[d](code.md)`\n"
    )
    found = find_broken_links(tmp_path, [Path("page.md")])
    assert found == ["page.md: gone.md", "page.md: gone.svg", "page.md: gone.png"]
