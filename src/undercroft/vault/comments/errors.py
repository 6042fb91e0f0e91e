"""Why a comment cannot be written or deleted."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class TooManyCommentsError(UndercroftError):
    """The document has as many comments as any may have."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The document has {most:,} comments, the most that one can have. Delete some of them first.",
            kind=ErrorKind.CONFLICT,
            code="too_many_comments",
        )


class NotAuthorError(UndercroftError):
    """A comment of somebody else's, on a document of somebody else's."""

    def __init__(self) -> None:
        super().__init__(
            "Only its author and the document's owner can delete a comment.",
            kind=ErrorKind.FORBIDDEN,
            code="not_author",
        )
