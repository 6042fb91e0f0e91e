"""Webhooks and their deliveries as the API shows them."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from undercroft.http.objects import Shown
from undercroft.http.wire import render_time, require_id
from undercroft.kit.ids import render_id
from undercroft.notifications.models import (
    DELIVERY_PREFIX,
    ENDPOINT_PREFIX,
    MESSAGE_PREFIX,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointState,
)


class WebhookObject(Shown):
    """A webhook. Its secret is shown when it is made, and never again."""

    id: str
    object: Literal["webhook"]
    url: str
    events: list[str]
    state: EndpointState
    former_secret_until: int | None = Field(
        description="Until when the secret before this one signs as well."
    )
    created_at: int


class WebhookWithSecretObject(WebhookObject):
    """A webhook with a new secret."""

    secret: str = Field(description="What its messages are signed with. Shown this once.")


class DeliveryObject(Shown):
    """A message on its way to a webhook."""

    id: str
    object: Literal["webhook_delivery"]
    message: str = Field(description="The `webhook-id` that is sent with each attempt.")
    event: str
    state: DeliveryState
    attempts: int
    last_status: int | None = Field(description="The HTTP status of the latest attempt.")
    last_error: str | None = Field(description="Why that attempt failed; one of our codes.")
    last_attempt_at: int | None
    next_attempt_at: int | None
    created_at: int


def describe_webhook(endpoint: Endpoint) -> dict[str, Any]:
    """A webhook."""
    return {
        "id": render_id(ENDPOINT_PREFIX, endpoint.id),
        "object": "webhook",
        "url": endpoint.url,
        "events": list(endpoint.event_types),
        "state": endpoint.state,
        "former_secret_until": render_time(endpoint.former_secret_until),
        "created_at": render_time(endpoint.created_at),
    }


def describe_delivery(delivery: Delivery) -> dict[str, Any]:
    """A delivery."""
    return {
        "id": render_id(DELIVERY_PREFIX, delivery.id),
        "object": "webhook_delivery",
        "message": render_id(MESSAGE_PREFIX, delivery.message_id),
        "event": delivery.event_type,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "last_attempt_at": render_time(delivery.last_attempt_at),
        "next_attempt_at": render_time(delivery.next_attempt_at),
        "created_at": render_time(delivery.created_at),
    }


def require_webhook_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(ENDPOINT_PREFIX, "webhook", text, param)


def require_delivery_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(DELIVERY_PREFIX, "delivery", text, param)
