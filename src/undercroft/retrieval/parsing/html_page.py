"""HTML: the text a reader sees, with its headings, without scripts, styles and navigation.

Parsed as HTML5, which has no entity definitions and fetches nothing; so XHTML out of an EPUB is read here too, and
the attacks that XML allows have nothing to work with.
"""

import re
from collections.abc import Iterator
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from undercroft.retrieval.parsing.detection import HTML
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.text import TextBuilder, read_text

MAX_MARKUP_CHARACTERS: Final = 100_000_000
CELL_SEPARATOR: Final = " | "

_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_SKIPPED: Final = frozenset(
    "audio button canvas dialog embed head iframe input map math nav noscript "  # noqa: SIM905 - easier to read
    "object script select style svg template textarea title video".split()
)
_BLOCKS: Final = frozenset(
    "address article aside blockquote body caption center dd details div dl dt "  # noqa: SIM905 - easier to read
    "fieldset figcaption figure footer form header hgroup hr html legend main ol p pre section "
    "summary table tbody tfoot thead ul".split()
)
_LINES: Final = frozenset({"br", "li", "tr"})
_TABLE_PARTS: Final = frozenset({"tbody", "tfoot", "thead"})
_CELLS: Final = frozenset({"td", "th"})
_SPACE: Final = re.compile(r"[ \t\n\r\f]+")
_SELF_CLOSING: Final = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)([a-zA-Z][\w.-]*)((?:\s[^<>]*)?)/>",
)


def parse_html(data: bytes, max_characters: int) -> ExtractedDocument:
    """The visible text of a page; its ``<title>`` is the title."""
    builder = TextBuilder(max_characters)
    title = add_html(builder, read_text(data, MAX_MARKUP_CHARACTERS))
    return builder.build(HTML, title)


def add_xhtml(builder: TextBuilder, markup: str) -> str | None:
    """As :func:`add_html`, for XHTML: ``<title/>`` is an empty element there, and an open one in HTML."""
    return add_html(builder, _SELF_CLOSING.sub(r"<\1\2></\1>", markup))


def add_html(builder: TextBuilder, markup: str) -> str | None:
    """Add the visible text of a page to a document.

    Returns:
        The page's title, if it has one.
    """
    page = LexborHTMLParser(markup)
    title = page.css_first("title")
    if page.body is not None:
        _Renderer(builder).render(page.body)
    return title.text() if title is not None else None


class _Renderer:
    """Walks the tree without recursion (its depth is the author's choice) and emits blocks."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._pieces: list[str] = []
        self._row_has_cell = False
        self._preformatted = 0

    def render(self, root: LexborNode) -> None:
        for node, is_entering in _walk(root):
            tag = node.tag or ""
            if node.is_text_node:
                self._add_text(node.text_content or "")
            elif tag in _HEADINGS:
                self._flush(_HEADINGS[tag] if not is_entering else None)
            elif tag in _BLOCKS:
                self._cross_block(tag, is_entering=is_entering)
            elif tag in _LINES and is_entering:
                self._start_line(tag)
            elif tag in _CELLS and is_entering:
                self._start_cell()
        self._flush(None)

    def _add_text(self, text: str) -> None:
        if not self._preformatted:
            text = _SPACE.sub(" ", text)
            if not self._pieces or self._pieces[-1].endswith((" ", "\n")):
                text = text.removeprefix(" ")
        if text:
            self._pieces.append(text)

    def _cross_block(self, tag: str, *, is_entering: bool) -> None:
        if tag == "pre":
            self._preformatted += 1 if is_entering else -1
        if self._row_has_cell and tag != "table":
            self._add_text(" ")  # a paragraph within a cell does not tear its row apart
        elif tag not in _TABLE_PARTS:
            self._flush(None)

    def _start_line(self, tag: str) -> None:
        if tag == "tr":
            self._row_has_cell = False
        self._pieces.append("\n- " if tag == "li" else "\n")

    def _start_cell(self) -> None:
        if self._row_has_cell:
            if self._pieces[-1:] == [" "]:
                self._pieces.pop()
            self._pieces.append(CELL_SEPARATOR)
        self._row_has_cell = True

    def _flush(self, heading_level: int | None) -> None:
        block = "".join(self._pieces)
        self._pieces.clear()
        self._row_has_cell = False
        if heading_level is None:
            self._builder.add_block(block)
        else:
            self._builder.add_heading(heading_level, block)


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Each node as it is entered (True) and each element as it is left (False), in document order."""
    node = root
    while True:
        yield node, True
        child = node.first_child if node.is_element_node and node.tag not in _SKIPPED else None
        if child is not None:
            node = child
            continue
        while True:
            if node.is_element_node:
                yield node, False
            if node.mem_id == root.mem_id:  # comparing nodes would compare their markup
                return
            sibling = node.next
            if sibling is not None:
                node = sibling
                break
            parent = node.parent
            if parent is None:
                return
            node = parent
