"""API keys: a person's own, and for admins a service's."""

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import KeyHolder
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.identity_objects import ApiKeyObject, NewApiKeyObject
from undercroft.http.identity_views import render_key, require_key_id, require_user_id
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import RequestBody, page_of
from undercroft.identity.models import Permission

router = APIRouter(tags=["keys"], route_class=NativeRoute)

_LONGEST_SECONDS: Final = 3650 * 24 * 60 * 60


class CreateKey(RequestBody):
    """What the new key carries, and for how long."""

    scopes: Annotated[
        list[Annotated[Permission, Field(strict=False)]] | None,
        Field(
            min_length=1,
            max_length=len(Permission),
            description="What of the user's rights it carries; all of them if left out.",
        ),
    ] = None
    expires_in: Annotated[
        int | None,
        Field(ge=60, le=_LONGEST_SECONDS, description="Seconds; it never expires if left out."),
    ] = None


@router.post(
    "/v1/users/{user_id}/keys",
    summary="Create an API key",
    status_code=201,
    response_model=NewApiKeyObject,
    responses={**answers(201, "The key with its secret.", "Location"), **errors(404, 409)},
)
async def create_key(
    user_id: str, body: CreateKey, caller: KeyHolder, services: ServicesDependency
) -> Response:
    """A key of one's own, or for an admin of a service. It carries no more than the credential that makes it."""
    scopes = None if body.scopes is None else frozenset(body.scopes)
    lifetime = None if body.expires_in is None else timedelta(seconds=body.expires_in)
    made = await services.people.api_keys.create(caller, require_user_id(user_id), scopes, lifetime)
    shown = render_key(made.key)
    return JSONResponse(
        {**shown, "secret": made.secret},
        201,
        {"Location": f"/v1/users/{user_id}/keys/{shown['id']}"},
    )


@router.get(
    "/v1/users/{user_id}/keys",
    summary="List API keys",
    response_model=Page[ApiKeyObject],
    responses=errors(404),
)
async def list_keys(
    user_id: str,
    caller: KeyHolder,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """One's own keys, or for an admin anybody's, the oldest first, also those that have ended. Never a secret."""
    place = None if after is None else require_key_id(after, "after")
    found = await services.people.api_keys.list_keys(
        caller, require_user_id(user_id), place, limit + 1
    )
    return page_of([render_key(key) for key in found], limit)


@router.get(
    "/v1/users/{user_id}/keys/{key_id}",
    summary="Get an API key",
    response_model=ApiKeyObject,
    responses=errors(404),
)
async def get_key(
    user_id: str, key_id: str, caller: KeyHolder, services: ServicesDependency
) -> dict[str, Any]:
    """One key, without its secret."""
    return render_key(
        await services.people.api_keys.get(caller, require_user_id(user_id), require_key_id(key_id))
    )


@router.delete(
    "/v1/users/{user_id}/keys/{key_id}",
    summary="Revoke an API key",
    response_model=ApiKeyObject,
    responses=errors(404),
)
async def revoke_key(
    user_id: str, key_id: str, caller: KeyHolder, services: ServicesDependency
) -> dict[str, Any]:
    """From the next request on. A key that leaked can be revoked by its user and by any admin."""
    return render_key(
        await services.people.api_keys.revoke(
            caller, require_user_id(user_id), require_key_id(key_id)
        )
    )
