"""Markdown: the source is the text, so that every offset is exact; only the headings are read out of it."""

from itertools import pairwise
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from undercroft.retrieval.parsing.detection import MARKDOWN
from undercroft.retrieval.parsing.models import ExtractedDocument, Heading
from undercroft.retrieval.parsing.text import MAX_HEADINGS, one_line, read_text

_TEXT_TOKENS: Final = frozenset({"text", "code_inline", "softbreak"})


def parse_markdown(data: bytes, max_characters: int) -> ExtractedDocument:
    """The source text with its headings; the first of level 1 is the title."""
    text = read_text(data, max_characters)
    headings = tuple(_find_headings(text))
    title = next((heading.title for heading in headings if heading.level == 1), None)
    return ExtractedDocument(
        media_type=MARKDOWN, text=text, title=title, pages=(), headings=headings
    )


def _find_headings(text: str) -> list[Heading]:
    # Inline rules are by far the slower half, and only headings need them.
    blocks = MarkdownIt("commonmark").disable("inline")
    inline = MarkdownIt("commonmark")
    line_starts = _line_starts(text)
    tokens = blocks.parse(text)
    headings: list[Heading] = []
    for token, content in pairwise(tokens):
        if token.type != "heading_open" or token.map is None:
            continue
        title = one_line(_plain_text(inline.parseInline(content.content[:2000])))
        if title and len(headings) < MAX_HEADINGS:
            headings.append(Heading(int(token.tag[1]), title, line_starts[token.map[0]]))
    return headings


def _plain_text(tokens: list[Token]) -> str:
    children = [child for token in tokens for child in token.children or ()]
    return "".join(
        " " if child.type == "softbreak" else child.content
        for child in children
        if child.type in _TEXT_TOKENS
    )


def _line_starts(text: str) -> list[int]:
    starts = [0]
    starts.extend(at + 1 for at, character in enumerate(text) if character == "\n")
    return starts
