"""Quotas and usage, as they are shown and named on the wire."""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from undercroft.http.identity_views import require_user_id
from undercroft.http.objects import Shown
from undercroft.http.wire import JsonObject, require_id
from undercroft.identity.models import KEY_PREFIX
from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError
from undercroft.kit.ids import parse_id
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import USER_PREFIX
from undercroft.metering.models import KeptQuota, Period, QuotaKind, UsageKey, UsageRow, Whose
from undercroft.metering.quotas import subject_name

_REMOVED: Final = "removed"


class QuotaObject(Shown):
    """How much may be used in a minute, or in a day, of UTC."""

    object: Literal["quota"]
    subject: Annotated[
        str, Field(description="`tenant`, `each_user`, or the id of a user or an API key.")
    ]
    period: Literal["minute", "day"]
    requests: int | None
    tokens: int | None
    used_requests: Annotated[int | None, Field(description="Null for `each_user`.")]
    used_tokens: Annotated[
        int | None, Field(description="With what is reserved for what goes on now.")
    ]


class DailyUsageObject(Shown):
    """What a user used of a model on a day of UTC."""

    id: str
    object: Literal["usage.daily"]
    day: Annotated[str, Field(description="YYYY-MM-DD.")]
    user: Annotated[str | None, Field(description="Null for all who were removed since.")]
    model: str
    requests: int
    estimated_requests: Annotated[
        int, Field(description="Those whose tokens no model's server has told.")
    ]
    input_tokens: int
    output_tokens: int
    cached_tokens: Annotated[int, Field(description="Those of the input read from a cache.")]


def read_subject(text: str) -> Whose:
    """Whose quota a path is about.

    Raises:
        NotFoundError: When it can be nobody's.
    """
    if text in {QuotaKind.TENANT, QuotaKind.EACH_USER}:
        return Whose(QuotaKind(text))
    if text.startswith(KEY_PREFIX):
        return Whose(QuotaKind.KEY, require_id(KEY_PREFIX, "API key", text))
    return Whose(QuotaKind.USER, require_user_id(text))


def read_period(text: str) -> Period:
    """The period of a path.

    Raises:
        UndercroftError: Of kind NOT_FOUND, when there is no such.
    """
    try:
        return Period(text)
    except ValueError:
        raise UndercroftError(
            f"There is no such period; a quota is of a {' or a '.join(Period)}.",
            kind=ErrorKind.NOT_FOUND,
        ) from None


def render_quota(kept: KeptQuota) -> JsonObject:
    """A quota with what was used of it."""
    quota = kept.quota
    return {
        "object": "quota",
        "subject": subject_name(quota.whose),
        "period": quota.period.value,
        "requests": quota.requests,
        "tokens": quota.tokens,
        "used_requests": kept.requests,
        "used_tokens": kept.tokens,
    }


def render_usage_row(row: UsageRow) -> JsonObject:
    """What was used."""
    user = None if row.user_id is None else user_reference(row.user_id)
    return {
        "id": f"{row.day}/{user or _REMOVED}/{row.model}",
        "object": "usage.daily",
        "day": f"{row.day}",
        "user": user,
        "model": row.model,
        "requests": row.requests,
        "estimated_requests": row.estimated_requests,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_tokens": row.cached_tokens,
    }


def read_usage_id(text: str) -> UsageKey:
    """The row behind its id.

    Raises:
        InvalidRequestError: When it can be none's.
    """
    day, _, rest = text.partition("/")
    user, _, model = rest.partition("/")
    user_id = parse_id(USER_PREFIX, user)
    try:
        place = date.fromisoformat(day)
    except ValueError:
        place = None
    if place is None or not model or (user_id is None and user != _REMOVED):
        raise InvalidRequestError("It is the id of no entry of this list.", param="after")
    return place, user_id, model
