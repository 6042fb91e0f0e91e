"""Why a request is not let begin, or a quota not be set."""

from collections.abc import Sequence
from typing import Final

from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.metering.models import QuotaKind, Standing

_WHOSE: Final = {
    QuotaKind.TENANT: "your tenant's",
    QuotaKind.EACH_USER: "your",
    QuotaKind.USER: "your",
    QuotaKind.KEY: "this key's",
}


class QuotaSpentError(UndercroftError):
    """Nothing is left of a quota for the request, until its window is over.

    Args:
        spent: The counts that it does not fit into.
    """

    def __init__(self, spent: Sequence[Standing]) -> None:
        last = max(spent, key=lambda standing: standing.seconds_left)
        super().__init__(
            f"{_name(last)} is spent: {last.most:,} {last.measure} a {last.period}. The next begins at "
            f"{last.ends_at:%Y-%m-%dT%H:%M:%SZ}; ask again then, or ask an admin for a larger one.",
            kind=ErrorKind.RATE_LIMITED,
            code="quota_spent",
            retry_after=last.seconds_left,
        )


class LargerThanQuotaError(UndercroftError):
    """A request may take more tokens than a quota has in all: waiting does not help."""

    def __init__(self, standing: Standing, wanted: int) -> None:
        super().__init__(
            f"This may take {wanted:,} tokens, and {_name(standing).lower()} is {standing.most:,} a {standing.period}. "
            "Ask for a shorter answer with a smaller maximum of output tokens, ask less, or ask an admin for a larger "
            "quota.",
            kind=ErrorKind.INVALID_REQUEST,
            code="larger_than_quota",
        )


class TooManyQuotasError(UndercroftError):
    """A tenant has as many quotas as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The tenant has {most:,} quotas. Delete one first, or set one for each user.",
            kind=ErrorKind.CONFLICT,
            code="too_many_quotas",
        )


def _name(standing: Standing) -> str:
    return f"{_WHOSE[standing.kind]} quota of {standing.measure}".capitalize()
