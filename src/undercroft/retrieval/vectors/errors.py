"""What can go wrong with an index outside."""

from undercroft.kit.errors import UnavailableError


class VectorIndexError(UnavailableError):
    """It does not answer, or not with what was asked for: a search does without it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=1)
