"""What an answer after others refuses."""

from typing import Final

from undercroft.kit.errors import ErrorKind, UndercroftError

MOST_INHERITED: Final = 1000
"""The most passages that an answer may rest on through the turns before it."""


class TooManySourcesError(UndercroftError):
    """What was said before an answer was made from more passages than it may rest on."""

    def __init__(self) -> None:
        super().__init__(
            f"What was said before was made from more than {MOST_INHERITED} passages, the most that an answer may rest "
            "on. Begin anew: ask without 'previous_response_id', or in another conversation, and say in 'input' what "
            "of it matters.",
            kind=ErrorKind.CONFLICT,
            code="too_many_sources",
        )
