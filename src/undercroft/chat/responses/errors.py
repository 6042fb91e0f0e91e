"""What responses refuse."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class SourceErasedError(UndercroftError):
    """A document that the response was made from was erased."""

    def __init__(self) -> None:
        super().__init__(
            "A document that this answer was made from was erased, and the answer with it. Ask again, or delete it.",
            kind=ErrorKind.GONE,
            code="source_erased",
        )


class NoProvenanceError(UndercroftError):
    """An answer of which it was not recorded where it comes from."""

    def __init__(self) -> None:
        super().__init__(
            "Of this answer it is not on record where it comes from: it is older than that, or its search did not end. "
            "Ask again.",
            kind=ErrorKind.CONFLICT,
            code="no_provenance",
        )
