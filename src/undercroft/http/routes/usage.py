"""How much is kept and may be, and what was used of models."""

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query

from undercroft.http.callers import KnownDocumentReader
from undercroft.http.deps import NativeRoute, ServicesDependency, require_permission
from undercroft.http.identity_views import require_user_id
from undercroft.http.metering_views import DailyUsageObject, read_usage_id, render_usage_row
from undercroft.http.objects import Page, UsageObject
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import Limit
from undercroft.http.wire import page_of
from undercroft.identity.models import Kind, Permission
from undercroft.kit.errors import InvalidRequestError

router = APIRouter(tags=["usage"], route_class=NativeRoute)

_DAYS: Final = timedelta(days=30)
_Day = Annotated[str | None, Query(pattern="^2[0-9]{3}-[0-9]{2}-[0-9]{2}$", description="A day.")]


@router.get("/v1/usage", summary="Get the usage", response_model=UsageObject, responses=errors())
async def get_usage(caller: KnownDocumentReader, services: ServicesDependency) -> dict[str, Any]:
    """How many bytes of documents and uploads the caller and their tenant keep, and the most they may.

    Guests are told their own alone.
    """
    usage, quotas = await services.vault.usage.read(caller), services.vault.usage.quotas
    tenant = {"bytes": usage.tenant_bytes, "quota_bytes": quotas.tenant_bytes}
    return {
        "object": "usage",
        "user": {"bytes": usage.user_bytes, "quota_bytes": quotas.user_bytes},
        "tenant": None if caller.kind is Kind.GUEST else tenant,
    }


@router.get(
    "/v1/usage/daily",
    summary="List what was used by day",
    response_model=Page[DailyUsageObject],
    responses=errors(404),
)
async def list_daily_usage(
    caller: KnownDocumentReader,
    services: ServicesDependency,
    of: Annotated[
        Literal["me", "tenant"], Query(description="Whose. The tenant's, for admins.")
    ] = "me",
    user: Annotated[
        str | None, Query(max_length=64, description="With `of=tenant`: of this user alone.")
    ] = None,
    first: _Day = None,
    last: _Day = None,
    limit: Limit = 20,
    after: Annotated[
        str | None,
        Query(max_length=400, description="The id of the last entry of the page before."),
    ] = None,
) -> dict[str, Any]:
    """Requests and tokens by day of UTC, user and model, the last day first; of the last thirty days unless asked."""
    place = None if after is None else read_usage_id(after)
    today = services.clock.now().date()
    ends = _read_day(last, "last") or today
    begins = _read_day(first, "first") or ends - _DAYS
    user_id = None if user is None else require_user_id(user, "user")
    if of == "tenant":
        await require_permission(services, caller, Permission.ADMINISTER)
    elif user is not None:
        raise InvalidRequestError(
            "It goes with of=tenant: say that, or leave it out.", param="user"
        )
    else:
        user_id = caller.user_id
    rows = await services.metering.list_usage(caller, begins, ends, user_id, place, limit + 1)
    return page_of([render_usage_row(row) for row in rows], limit)


def _read_day(text: str | None, param: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequestError("It is no day, such as 2026-01-31.", param=param) from error
