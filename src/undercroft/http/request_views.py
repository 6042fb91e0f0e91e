"""Access requests as the routes show them."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from undercroft.http.objects import Shown, Time
from undercroft.http.sharing_views import (
    ActionName,
    ModelUseName,
    PartsObject,
    render_resource,
    render_terms,
)
from undercroft.http.wire import render_time, require_id
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import grant_reference, user_reference
from undercroft.sharing.requests.models import REQUEST_PREFIX, AccessRequest


class AskedObject(Shown):
    """That something was asked for."""

    id: str
    object: Literal["access_request"]
    status: Literal["pending"]
    resource: str


class WishObject(Shown):
    """What is asked for."""

    actions: list[ActionName]
    fields: list[str] | None
    parts: PartsObject | None
    purpose: str | None
    not_before: Time | None
    expires_at: Time | None
    max_uses: int | None
    model_use: list[ModelUseName] | None
    message: str | None


class AccessRequestObject(Shown):
    """A request for a grant."""

    id: str
    object: Literal["access_request"]
    status: Literal["pending", "approved", "denied", "expired"]
    resource: str
    asker: str
    asked: Annotated[
        WishObject | None,
        Field(description="For the thing's owner, until it is answered; null then."),
    ]
    grant: Annotated[str | None, Field(description="What was granted.")]
    created_at: Time
    expires_at: Annotated[Time, Field(description="When it is over if nobody answers.")]
    answered_at: Time | None


def require_request_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(REQUEST_PREFIX, "access request", text, param)


def render_request(request: AccessRequest) -> dict[str, Any]:
    """A request as it is shown."""
    wish = request.wish
    return {
        "id": render_id(REQUEST_PREFIX, request.id),
        "object": "access_request",
        "status": request.state.value,
        "resource": render_resource(request.resource),
        "asker": user_reference(request.asker_id),
        "asked": None if wish is None else {**render_terms(wish.terms), "message": wish.message},
        "grant": None if request.grant_id is None else grant_reference(request.grant_id),
        "created_at": render_time(request.created_at),
        "expires_at": render_time(request.expires_at),
        "answered_at": render_time(request.answered_at),
    }
