"""Why something cannot be shared, or not any more be seen."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class WideningError(UndercroftError):
    """A re-share that would give more than was given."""

    def __init__(self, term: str) -> None:
        super().__init__(
            "What was shared with you can be shared on as it is, or more narrowly; keep within your own grant.",
            kind=ErrorKind.FORBIDDEN,
            param=term,
            code="wider_than_granted",
        )


class NotGrantedError(UndercroftError):
    """Something that a caller may see, and not do this with."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"What was shared with you does not include '{action}'; ask its owner for that.",
            kind=ErrorKind.FORBIDDEN,
            code="not_granted",
        )


class GrantEndedError(UndercroftError):
    """A grant that ended while it was being used."""

    def __init__(self) -> None:
        super().__init__(
            "The grant that this rests on has just ended; ask for another.",
            kind=ErrorKind.CONFLICT,
            code="grant_ended",
        )


class LinkHolderError(UndercroftError):
    """Whoever holds a link shares on by links alone: nobody knows who they are."""

    def __init__(self) -> None:
        super().__init__(
            "Whoever holds a link can make narrower links, and no other grants: POST /v1/share-links.",
            kind=ErrorKind.FORBIDDEN,
            code="links_only",
        )
