"""What crosses the wall between a parser's process and the service.

An answer is four bytes of length, a header in JSON of that length, then the text in UTF-8 up to the end of the
stream. The reading side trusts none of it: a parser that a file has taken over can send anything, and gets no further
than a wrong text for its own file.
"""

import json
import struct
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.models import ExtractedDocument, Heading, Page
from undercroft.retrieval.parsing.text import MAX_HEADINGS, MAX_TITLE_CHARACTERS

LENGTH: Final = struct.Struct(">I")
MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
MAX_MESSAGE_CHARACTERS: Final = 500

_Offset = Annotated[int, Field(ge=0)]
_Title = Annotated[str, Field(max_length=MAX_TITLE_CHARACTERS)]


class InvalidAnswerError(Exception):
    """A parser's process sent something that is no answer."""


class _Failure(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    code: ParseErrorCode
    message: Annotated[str, Field(max_length=MAX_MESSAGE_CHARACTERS)]
    detail: Annotated[str, Field(max_length=MAX_MESSAGE_CHARACTERS)] | None


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    media_type: Annotated[str, Field(max_length=100)] = ""
    title: _Title | None = None
    pages: Annotated[list[tuple[int, _Offset, _Offset]], Field(max_length=100_000)] = []
    headings: Annotated[
        list[tuple[Annotated[int, Field(ge=1, le=6)], _Title, _Offset]],
        Field(max_length=MAX_HEADINGS),
    ] = []
    failure: _Failure | None = None


def encode_document(document: ExtractedDocument) -> bytes:
    """The answer of a parser that has read its file."""
    header = {
        "media_type": document.media_type,
        "title": document.title,
        "pages": [(page.number, page.start, page.end) for page in document.pages],
        "headings": [(entry.level, entry.title, entry.start) for entry in document.headings],
    }
    return _encode_header(header) + document.text.encode()


def encode_failure(error: ParseError) -> bytes:
    """The answer of a parser that cannot read its file."""
    detail = error.detail[:MAX_MESSAGE_CHARACTERS] if error.detail else None
    return _encode_header(
        {"failure": {"code": error.reason, "message": error.message, "detail": detail}}
    )


def decode_answer(header: bytes, text: str) -> ExtractedDocument:
    """The document that an answer holds.

    Args:
        header: The bytes of the header, at most :data:`MAX_HEADER_BYTES`.
        text: What followed it, already decoded and free of control characters.

    Raises:
        ParseError: The parser's own refusal.
        InvalidAnswerError: This is not what a parser sends.
    """
    try:
        answer = _Header.model_validate_json(header)
    except ValidationError as error:
        raise InvalidAnswerError("the header is not valid") from error
    if answer.failure is not None:
        failure = answer.failure
        raise ParseError(failure.code, failure.message, detail=failure.detail)
    document = ExtractedDocument(
        media_type=answer.media_type,
        text=text,
        title=answer.title,
        pages=tuple(Page(*page) for page in answer.pages),
        headings=tuple(Heading(*heading) for heading in answer.headings),
    )
    _check_offsets(document)
    return document


def _encode_header(header: Mapping[str, object]) -> bytes:
    encoded = json.dumps(header).encode()
    return LENGTH.pack(len(encoded)) + encoded


def _check_offsets(document: ExtractedDocument) -> None:
    """Pages are numbered from 1 and in order without overlap, headings in order, and both lie within the text."""
    length = len(document.text)
    end = 0
    for number, page in enumerate(document.pages, start=1):
        if page.number != number or not end <= page.start <= page.end <= length:
            raise InvalidAnswerError("the pages are out of order")
        end = page.end
    start = 0
    for heading in document.headings:
        if not start <= heading.start < length:
            raise InvalidAnswerError("the headings are out of order")
        start = heading.start
