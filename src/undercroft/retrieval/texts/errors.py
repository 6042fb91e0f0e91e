"""Why a document's text cannot be read."""

from typing import Final

from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.vault.models import IndexState

_REASONS: Final = {
    IndexState.UNINDEXED: "Its text is not extracted yet: that is done once its owner adds it to a vector store.",
    IndexState.PENDING: "Its text is being extracted; try again in a moment.",
    IndexState.FAILED: "No text could be extracted from it. A version that can be read has to be added.",
}


class NotIndexedError(UndercroftError):
    """There is no text yet, or none at all."""

    def __init__(self, state: IndexState) -> None:
        super().__init__(_REASONS[state], kind=ErrorKind.CONFLICT, code="not_indexed")


class TextSealedError(UndercroftError):
    """The document is sealed."""

    def __init__(self) -> None:
        super().__init__(
            "The document is sealed: its text is never extracted. Its owner can unseal it.",
            kind=ErrorKind.CONFLICT,
            code="document_sealed",
        )


class TextChangedError(UndercroftError):
    """The document got another version between two pages of its text."""

    def __init__(self) -> None:
        super().__init__(
            "The document has another version by now; read its text again from the beginning, without 'after'.",
            kind=ErrorKind.CONFLICT,
            param="after",
            code="document_changed",
        )
