"""Quotas of requests and tokens, which admins set."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import Administrator
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.metering_views import QuotaObject, read_period, read_subject, render_quota
from undercroft.http.objects import VersionPage
from undercroft.http.openai.contract import errors
from undercroft.http.wire import RequestBody
from undercroft.kit.errors import InvalidRequestError
from undercroft.metering.models import Quota

router = APIRouter(tags=["quotas"], route_class=NativeRoute)

_Most = Annotated[int, Field(ge=0, le=10**15)]


class SetQuota(RequestBody):
    """How much may be used; null or left out is as much as anybody likes."""

    requests: _Most | None = None
    tokens: _Most | None = None


@router.get(
    "/v1/quotas",
    summary="List quotas",
    response_model=VersionPage[QuotaObject],
    responses=errors(),
)
async def list_quotas(caller: Administrator, services: ServicesDependency) -> dict[str, Any]:
    """All of the tenant's, a thousand at most, with what was used of each. Admins only."""
    quotas = await services.quotas.list_all(caller)
    return {"object": "list", "data": [render_quota(each) for each in quotas], "has_more": False}


@router.put(
    "/v1/quotas/{subject}/{period}",
    summary="Set a quota",
    response_model=QuotaObject,
    responses=errors(404, 409),
)
async def set_quota(
    subject: str, period: str, body: SetQuota, caller: Administrator, services: ServicesDependency
) -> dict[str, Any]:
    """How much `tenant`, `each_user`, a user or an API key may use in a `minute` or a `day`. Admins only."""
    whose, of = read_subject(subject), read_period(period)
    if body.requests is None and body.tokens is None:
        raise InvalidRequestError(
            "Give a number of requests or of tokens; to have no quota, delete it.", param="requests"
        )
    return render_quota(
        await services.quotas.set(caller, Quota(whose, of, body.requests, body.tokens))
    )


@router.delete(
    "/v1/quotas/{subject}/{period}",
    summary="Delete a quota",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def delete_quota(
    subject: str, period: str, caller: Administrator, services: ServicesDependency
) -> Response:
    """From the next request on there is no such bound. Admins only."""
    await services.quotas.delete(caller, read_subject(subject), read_period(period))
    return Response(status_code=204)
