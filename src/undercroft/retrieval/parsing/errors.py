"""Why a file could not become text. Each reason is that one file's and leaves every other file alone."""

from enum import StrEnum

from undercroft.kit.errors import ErrorKind, UndercroftError


class UnsupportedTypeError(UndercroftError):
    """The content is of no type that can be read.

    Args:
        found: What it looks like instead, with its article: "a PNG image".
    """

    def __init__(self, found: str) -> None:
        super().__init__(
            f"This file looks like {found}. Supported are plain text, Markdown, HTML, PDF, DOCX, EPUB, CSV and JSON.",
            kind=ErrorKind.UNSUPPORTED_MEDIA_TYPE,
            code="unsupported_file",
        )


class ParseErrorCode(StrEnum):
    """The stable, machine-readable reason behind a :class:`ParseError`."""

    CORRUPT_FILE = "corrupt_file"
    ENCRYPTED = "encrypted"
    NO_TEXT = "no_text"
    TOO_MUCH_TEXT = "too_much_text"
    TOO_COMPLEX = "too_complex"
    TIMED_OUT = "timed_out"


class ParseError(UndercroftError):
    """The file is of a supported type, but no text can be had from it; trying again gives the same answer.

    Args:
        code: Why, for programs.
        message: Why and what to do next, for the file's owner.
        detail: The internal cause, for the operator's log. May quote the file, so it is never shown or stored.
    """

    def __init__(self, code: ParseErrorCode, message: str, *, detail: str | None = None) -> None:
        super().__init__(message, kind=ErrorKind.UNPROCESSABLE, code=code)
        self.reason = code
        self.detail = detail
