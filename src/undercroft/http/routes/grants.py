"""Grants: who but its owner may do what with a thing, until when and what for."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import KnownSharingWriter, SharingReader, SharingWriter
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.sharing_views import (
    GranteeBody,
    GrantObject,
    TermsBody,
    read_grantee,
    read_terms,
    render_grant,
    require_grant_id,
    require_resource,
)
from undercroft.http.wire import page_of

router = APIRouter(tags=["sharing"], route_class=NativeRoute)


class CreateGrant(TermsBody):
    """What is shared, with whom, and on which terms."""

    resource: Annotated[
        str, Field(max_length=64, description="The id of a file, vector store, record or response.")
    ]
    grantee: GranteeBody


@router.post(
    "/v1/grants",
    summary="Share something",
    status_code=201,
    response_model=GrantObject,
    responses={**answers(201, "The grant.", "Location"), **errors(403, 404, 409)},
)
async def create_grant(
    body: CreateGrant,
    caller: KnownSharingWriter,
    services: ServicesDependency,
    response: Response,
) -> dict[str, Any]:
    """Share what is yours, or, under a grant to share, another's: as it was shared with you, or more narrowly."""
    resource = require_resource(body.resource)
    grantee = read_grantee(body.grantee, caller.tenant_id)
    grant = render_grant(
        await services.sharing.grants.create(caller, resource, grantee, read_terms(body))
    )
    response.headers["Location"] = f"/v1/grants/{grant['id']}"
    return grant


@router.get(
    "/v1/grants",
    summary="List grants",
    response_model=Page[GrantObject],
    responses=errors(404),
)
async def list_grants(
    caller: SharingReader,
    services: ServicesDependency,
    resource: Annotated[
        str | None, Query(max_length=64, description="Of this; without it, those that you gave.")
    ] = None,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """The oldest first, those that have ended too. Of what is another's, those that you gave or hold."""
    last = None if after is None else require_grant_id(after, "after")
    if resource is None:
        grants = await services.sharing.grants.list_given(caller, after=last, limit=limit + 1)
    else:
        found = require_resource(resource)
        grants = await services.sharing.grants.list_of(caller, found, after=last, limit=limit + 1)
    return page_of(list(map(render_grant, grants)), limit)


@router.get(
    "/v1/grants/{grant_id}",
    summary="Retrieve a grant",
    response_model=GrantObject,
    responses=errors(404),
)
async def retrieve_grant(
    grant_id: str, caller: SharingReader, services: ServicesDependency
) -> dict[str, Any]:
    """One that you gave or hold, or of what is yours."""
    return render_grant(await services.sharing.grants.get(caller, require_grant_id(grant_id)))


@router.delete(
    "/v1/grants/{grant_id}",
    summary="Revoke a grant",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def revoke_grant(
    grant_id: str, caller: SharingWriter, services: ServicesDependency
) -> Response:
    """End it with whatever was shared on under it, from the next statement on."""
    await services.sharing.grants.revoke(caller, require_grant_id(grant_id))
    return Response(status_code=204)
