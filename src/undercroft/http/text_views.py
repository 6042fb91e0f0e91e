"""The text of documents as it is shown."""

from typing import Annotated, Literal

from pydantic import Field

from undercroft.http.objects import Shown
from undercroft.http.wire import JsonObject
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import grant_reference
from undercroft.retrieval.texts.models import TextPage, TextPiece
from undercroft.vault.models import DOCUMENT_PREFIX


class TextPieceObject(Shown):
    """A piece of a document's text, of one section. Between two that follow each other there is only white space."""

    id: str
    object: Literal["document.text"]
    document: str
    version: int
    start: Annotated[int, Field(description="Of its first character in the extracted text.")]
    end: int
    page: int | None
    page_end: int | None
    headings: Annotated[
        list[str], Field(description="Above it, outermost first, as far as they were shared.")
    ]
    text: str
    grants: Annotated[list[str], Field(description="Under which it is shown; none for one's own.")]


def render_piece(page: TextPage, piece: TextPiece) -> JsonObject:
    """A piece of a page."""
    return {
        "id": f"{page.version}-{piece.start}",
        "object": "document.text",
        "document": render_id(DOCUMENT_PREFIX, page.document_id),
        "version": page.version,
        "start": piece.start,
        "end": piece.end,
        "page": piece.page_start,
        "page_end": piece.page_end,
        "headings": list(piece.headings),
        "text": piece.text,
        "grants": [grant_reference(grant.id) for grant in piece.way.grants],
    }
