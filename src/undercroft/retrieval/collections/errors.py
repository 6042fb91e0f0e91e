"""What collections refuse."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class DocumentSealedError(UndercroftError):
    """The document is never to be searched."""

    def __init__(self) -> None:
        super().__init__(
            "The file is sealed: it is never indexed and never shown to a model. Unseal it to add it here.",
            kind=ErrorKind.CONFLICT,
            param="file_id",
            code="document_sealed",
        )
