"""What the ledger refuses."""

from undercroft.kit.errors import UnavailableError


class NotYetSequencedError(UnavailableError):
    """The entry is in the ledger and has no number yet."""

    def __init__(self) -> None:
        super().__init__(
            "The entry is written and waits to be put into the tree; ask again.",
            code="not_yet_sequenced",
        )
