"""What notifications refuse."""

from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.notifications.models import MOST_ENDPOINTS


class TooManyEndpointsError(UndercroftError):
    """The tenant has all the webhooks it may have."""

    def __init__(self) -> None:
        super().__init__(
            f"A tenant has at most {MOST_ENDPOINTS} webhooks. Delete one, or have one take more events.",
            kind=ErrorKind.CONFLICT,
            code="too_many_webhooks",
        )


class StaleEndpointError(UndercroftError):
    """The webhook was changed since it was read.

    Args:
        salt: Of the ledger's commitments to it, to put the refusal on record.
    """

    def __init__(self, salt: bytes) -> None:
        super().__init__(
            "The webhook was changed since you read it. Read it again, and send If-Match with the ETag it has now.",
            kind=ErrorKind.PRECONDITION_FAILED,
            param="If-Match",
        )
        self.salt = salt


class DeliveryPendingError(UndercroftError):
    """A delivery that is still to be attempted cannot be sent again."""

    def __init__(self) -> None:
        super().__init__(
            "This delivery is still being attempted. Wait until it is delivered or has failed.",
            kind=ErrorKind.CONFLICT,
            code="delivery_pending",
        )


class EndpointDisabledError(UndercroftError):
    """Nothing is sent to a webhook that is not enabled."""

    def __init__(self) -> None:
        super().__init__(
            "This webhook is not enabled. Enable it first, then send the delivery again.",
            kind=ErrorKind.CONFLICT,
            code="webhook_disabled",
        )
