"""What a parser yields: text, and where in it pages and headings begin.

Every offset counts characters (Unicode code points) of :attr:`ExtractedDocument.text`, which is the text that is
stored, chunked, shown and cited.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading.

    Attributes:
        level: 1 for the outermost, at most 6.
        title: Its text, without markup, on one line.
        start: The offset at which the heading's own line begins in the text.
    """

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class Page:
    """The span ``[start, end)`` of the text that stands on one page; pages are numbered from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ExtractedDocument:
    r"""The text of one file.

    Attributes:
        media_type: What the content is, whatever the file is called.
        text: Newlines are ``\n``; no other control characters but tabs, and no lone surrogates.
        title: The title that the file states, if it states one.
        pages: In order, without overlap; empty for formats that have no fixed pages.
        headings: In order of ``start``.
    """

    media_type: str
    text: str
    title: str | None
    pages: tuple[Page, ...]
    headings: tuple[Heading, ...]
