"""Webhooks: which of a tenant's own programs are told what happens in it. Admins only."""

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import Administrator
from undercroft.http.conditional import IfMatch, require_revisions, revision_tag
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.webhook_views import (
    DeliveryObject,
    WebhookObject,
    WebhookWithSecretObject,
    describe_delivery,
    describe_webhook,
    require_delivery_id,
    require_webhook_id,
)
from undercroft.http.wire import RequestBody, page_of
from undercroft.kit.egress_policy import LONGEST_URL
from undercroft.kit.ids import render_id
from undercroft.notifications.endpoints import LONGEST_OVERLAP, EndpointChange, IssuedSecret
from undercroft.notifications.models import ENDPOINT_PREFIX, DeliveryState, Endpoint

router = APIRouter(tags=["webhooks"], route_class=NativeRoute)

_Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
_Events = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=32)
]
_DAY: Final = 24 * 3600


class CreateWebhook(RequestBody):
    """A new webhook."""

    url: Annotated[_Url, Field(description="Where messages are posted, by https.")]
    events: Annotated[_Events, Field(description="The types of events that it takes.")]


class UpdateWebhook(RequestBody):
    """What is to be changed; what is left out stays."""

    url: _Url | None = None
    events: _Events | None = None
    enabled: bool | None = None


class RotateSecret(RequestBody):
    """For how long the secret before signs as well."""

    overlap_seconds: Annotated[int, Field(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] = _DAY


@router.post(
    "/v1/webhooks",
    summary="Create a webhook",
    status_code=201,
    response_model=WebhookWithSecretObject,
    responses={
        **answers(201, "The webhook, with its secret.", "ETag", "Location"),
        **errors(409, 410),
    },
)
async def create_webhook(
    body: CreateWebhook, caller: Administrator, services: ServicesDependency
) -> Response:
    """Have a program told what happens. Its secret is shown this once."""
    issued = await services.webhooks.create(caller, body.url, body.events)
    made = _answer_secret(issued)
    made.status_code = 201
    made.headers["Location"] = f"/v1/webhooks/{render_id(ENDPOINT_PREFIX, issued.endpoint.id)}"
    return made


@router.get(
    "/v1/webhooks",
    summary="List webhooks",
    response_model=Page[WebhookObject],
    responses=errors(404, 410),
)
async def list_webhooks(
    caller: Administrator, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """The tenant's webhooks, oldest first."""
    place = None if after is None else require_webhook_id(after, "after")
    found = await services.webhooks.list_endpoints(caller, after=place, limit=limit + 1)
    return page_of([describe_webhook(endpoint) for endpoint in found], limit)


@router.get(
    "/v1/webhooks/{webhook_id}",
    summary="Get a webhook",
    response_model=WebhookObject,
    responses={**answers(200, "The webhook.", "ETag"), **errors(404, 410)},
)
async def get_webhook(
    webhook_id: str, caller: Administrator, services: ServicesDependency
) -> Response:
    """One webhook of the tenant."""
    return _answer(await services.webhooks.get(caller, require_webhook_id(webhook_id)))


@router.patch(
    "/v1/webhooks/{webhook_id}",
    summary="Change a webhook",
    response_model=WebhookObject,
    responses={**answers(200, "The webhook.", "ETag"), **errors(404, 410, 412, 428)},
)
async def update_webhook(
    webhook_id: str,
    body: UpdateWebhook,
    caller: Administrator,
    services: ServicesDependency,
    if_match: IfMatch = None,
) -> Response:
    """Change where it is, what it takes, or whether it is told anything. Enabling it revives one that is gone."""
    change = EndpointChange(body.url, body.events, body.enabled)
    changed = await services.webhooks.update(
        caller, require_webhook_id(webhook_id), require_revisions(if_match), change
    )
    return _answer(changed)


@router.post(
    "/v1/webhooks/{webhook_id}/secret",
    summary="Give a webhook another secret",
    response_model=WebhookWithSecretObject,
    responses={**answers(200, "The webhook, with its secret.", "ETag"), **errors(404, 410)},
)
async def rotate_secret(
    webhook_id: str, body: RotateSecret, caller: Administrator, services: ServicesDependency
) -> Response:
    """Until the overlap is over, messages carry a signature by the secret before as well."""
    issued = await services.webhooks.rotate_secret(
        caller, require_webhook_id(webhook_id), timedelta(seconds=body.overlap_seconds)
    )
    return _answer_secret(issued)


@router.delete(
    "/v1/webhooks/{webhook_id}",
    summary="Delete a webhook",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def delete_webhook(
    webhook_id: str, caller: Administrator, services: ServicesDependency
) -> Response:
    """Forget it, its secrets and its deliveries. An attempt that is under way may still arrive."""
    await services.webhooks.delete(caller, require_webhook_id(webhook_id))
    return Response(status_code=204)


@router.get(
    "/v1/webhooks/{webhook_id}/deliveries",
    summary="List a webhook's deliveries",
    response_model=Page[DeliveryObject],
    responses=errors(404),
)
async def list_deliveries(
    webhook_id: str,
    caller: Administrator,
    services: ServicesDependency,
    state: DeliveryState | None = None,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """Its deliveries of the last thirty days, the newest first."""
    found = await services.notifications.list_deliveries(
        caller,
        require_webhook_id(webhook_id),
        state=state,
        after=None if after is None else require_delivery_id(after, "after"),
        limit=limit + 1,
    )
    return page_of([describe_delivery(delivery) for delivery in found], limit)


@router.post(
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    summary="Send a delivery again",
    status_code=202,
    response_model=DeliveryObject,
    responses=errors(404, 409),
)
async def redeliver(
    webhook_id: str, delivery_id: str, caller: Administrator, services: ServicesDependency
) -> dict[str, Any]:
    """Send a delivered or failed one again, with all its attempts. It keeps its `webhook-id`."""
    delivery = await services.notifications.redeliver(
        caller, require_webhook_id(webhook_id), require_delivery_id(delivery_id)
    )
    return describe_delivery(delivery)


def _answer(endpoint: Endpoint) -> JSONResponse:
    return JSONResponse(
        describe_webhook(endpoint), headers={"ETag": revision_tag(endpoint.revision)}
    )


def _answer_secret(issued: IssuedSecret) -> JSONResponse:
    return JSONResponse(
        {**describe_webhook(issued.endpoint), "secret": issued.secret},
        headers={"ETag": revision_tag(issued.endpoint.revision)},
    )
