"""What collections refuse."""

from uuid import UUID

from undercroft.kit.errors import ErrorKind, NotFoundError, UndercroftError
from undercroft.kit.ids import render_id
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.vault.models import DOCUMENT_PREFIX


class DocumentSealedError(UndercroftError):
    """The document is never to be searched."""

    def __init__(self) -> None:
        super().__init__(
            "The file is sealed: it is never indexed and never shown to a model. Unseal it to add it here.",
            kind=ErrorKind.CONFLICT,
            code="document_sealed",
        )


def no_member(document_id: UUID) -> NotFoundError:
    """A collection without this document, or one that the caller may not see there."""
    return NotFoundError("vector store file", render_id(DOCUMENT_PREFIX, document_id))


def no_collection(collection_id: UUID) -> NotFoundError:
    """A collection that is not there, or that the caller may not see."""
    return NotFoundError("vector store", render_id(COLLECTION_PREFIX, collection_id))
