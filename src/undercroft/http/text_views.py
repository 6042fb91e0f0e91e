"""The text of documents as it is shown."""

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from undercroft.http.objects import Shown
from undercroft.http.wire import JsonObject, list_of
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import grant_reference
from undercroft.retrieval.texts.models import TextPage, TextPiece, TextPosition
from undercroft.vault.models import DOCUMENT_PREFIX

_POSITION: Final = re.compile(r"([1-9][0-9]{0,8})-(0|[1-9][0-9]{0,8})", re.ASCII)


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


def render_page(page: TextPage) -> JsonObject:
    """A page of a document's text."""
    return list_of([render_piece(page, piece) for piece in page.pieces], has_more=page.has_more)


def render_piece(page: TextPage, piece: TextPiece) -> JsonObject:
    """A piece of a page."""
    return {
        "id": position_of(page, piece),
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


def position_of(page: TextPage, piece: TextPiece) -> str:
    """A piece's id, after which reading goes on."""
    return f"{page.version}-{piece.start}"


def read_position(after: str | None) -> TextPosition | None:
    """Where reading goes on.

    Raises:
        InvalidRequestError: When it is the id of no piece.
    """
    if after is None:
        return None
    match = _POSITION.fullmatch(after)
    if match is None:
        raise InvalidRequestError("It is the id of no piece of text.", param="after")
    return TextPosition(int(match[1]), int(match[2]))
