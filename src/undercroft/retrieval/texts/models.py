"""A document's text as it is read: in pieces, each of one section."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from undercroft.sharing.models import OWN, Way


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A span of a document's extracted text. Pieces never overlap; between two that follow each other is white space.

    Attributes:
        start: Offset of its first character, which is not white space.
        end: Offset after its last.
        page_start: The first page that it may stand on, or None where there are no pages.
        page_end: The last one.
        headings: The titles above it, outermost first.
        heading_starts: Where the lines of these begin in the extracted text; nothing where that is not known.
        way: What it is shown under; no grants for what is the reader's own.
    """

    start: int
    end: int
    page_start: int | None
    page_end: int | None
    headings: tuple[str, ...]
    text: str
    way: Way = OWN
    heading_starts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TextPosition:
    """Where reading goes on.

    Attributes:
        version: Of the document; where a piece begins means nothing in another one.
        start: Of the last piece that was read.
    """

    version: int
    start: int


@dataclass(frozen=True, slots=True)
class TextSelection:
    """What of a document's text is wanted, besides where it begins.

    Attributes:
        page: Pieces that may stand on it; None for all pages.
        section: Pieces below this heading, of those that the reader is shown; None for all.
    """

    page: int | None = None
    section: str | None = None

    def holds(self, piece: TextPiece) -> bool:
        """Whether a piece is wanted, as it is shown."""
        if self.section is not None and self.section not in piece.headings:
            return False
        if self.page is None:
            return True
        if piece.page_start is None or piece.page_end is None:
            return False
        return piece.page_start <= self.page <= piece.page_end


EVERYTHING: Final = TextSelection()


@dataclass(frozen=True, slots=True)
class TextPage:
    """Some of a document's text, in its order."""

    document_id: UUID
    version: int
    pieces: Sequence[TextPiece]
    has_more: bool


BEGINNING: Final = -1
"""Before every offset."""
