"""What KMS refuses. Apart from what asks it, so that the command line can name them without loading that."""

from typing import Final

DEFAULT_ADVICE: Final = "Check kms_endpoint and the network between here and there."


class KmsError(Exception):
    """KMS does not do what it was asked. The text is for the operator; nothing in it is a secret.

    Args:
        key: Which key was asked for.
        reason: What happened.
        advice: What to do next.
    """

    def __init__(self, key: str, reason: str, advice: str = DEFAULT_ADVICE) -> None:
        super().__init__(f"The key {key} of AWS KMS cannot be used: {reason}. {advice}")


class KmsUnreachableError(KmsError):
    """No answer in time, or none but failures and requests to wait."""
