"""What can go wrong with an index outside."""

from undercroft.kit.errors import UnavailableError


class VectorIndexError(UnavailableError):
    """It does not answer, or not with what was asked for: a search does without it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=1)


class RestingIndexError(VectorIndexError):
    """It has failed so often that it is left alone for a while."""

    def __init__(self) -> None:
        super().__init__("The vector index is not asked now.")
