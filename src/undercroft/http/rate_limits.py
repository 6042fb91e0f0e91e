"""The fields ``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers, structured fields).

A route that counts says what it is held to with :func:`tell_limits` or :func:`counting`; whoever renders its answer, or
its refusal, adds the fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import Request, Response

from undercroft.identity.models import Principal
from undercroft.metering.models import Standing
from undercroft.metering.service import Charge

POLICY_HEADER: Final = "RateLimit-Policy"
LIMIT_HEADER: Final = "RateLimit"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One limit, and where a request left it.

    Attributes:
        name: What it is called in both fields.
        quota: The most in a window.
        window: Its seconds.
        left: How much there is yet.
        resets_in: Seconds until there is all of it again.
        unit: What is counted. Of tokens the draft has no name: it is ours.
    """

    name: str
    quota: int
    window: int
    left: int
    resets_in: int
    unit: Literal["requests", "tokens"] = "requests"


def counting(request: Request, caller: Principal) -> Charge:
    """A request that counts in its caller's quotas; its answer says how they stand."""
    charge = Charge(caller)
    request.state.charge = charge
    return charge


def tell_limits(request: Request, *limits: RateLimit) -> None:
    """Have the answer to a request say what it is held to."""
    request.state.rate_limits = limits


def with_limits(request: Request, response: Response) -> Response:
    """An answer, with the fields where the request is held to something."""
    charge: Charge | None = getattr(request.state, "charge", None)
    limits: Sequence[RateLimit] = getattr(request.state, "rate_limits", ())
    if charge is not None:
        limits = [*limits, *map(_limit_of, charge.standings)]
    if limits:
        response.headers[POLICY_HEADER] = ", ".join(map(_policy, limits))
        response.headers[LIMIT_HEADER] = ", ".join(map(_standing, limits))
    return response


def _limit_of(standing: Standing) -> RateLimit:
    kind = standing.kind.value.replace("_", "-")
    return RateLimit(
        f"{kind}-{standing.measure}-{standing.period}",
        standing.most,
        standing.period.seconds,
        standing.left,
        standing.seconds_left,
        standing.measure,
    )


def _policy(limit: RateLimit) -> str:
    unit = "" if limit.unit == "requests" else f';qu="{limit.unit}"'
    return f'"{limit.name}";q={limit.quota}{unit};w={limit.window}'


def _standing(limit: RateLimit) -> str:
    return f'"{limit.name}";r={limit.left};t={limit.resets_in}'
