"""What verification refuses."""

from undercroft.kit.errors import InvalidRequestError


class NoProofError(InvalidRequestError):
    """What was sent is none of what the service hands out."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This cannot be verified: {reason}. Send a receipt, a provenance bundle or a proof byte for byte as the "
            "service answered it.",
            code="no_proof",
        )
