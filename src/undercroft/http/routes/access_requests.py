"""Access requests: asking the owner of a thing for a grant, and their answer."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from undercroft.http.callers import KnownSharingWriter, SharingReader, SharingWriter
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.request_views import (
    AccessRequestObject,
    AskedObject,
    render_request,
    require_request_id,
)
from undercroft.http.sharing_views import (
    TermsBody,
    read_terms,
    render_resource,
    require_resource,
)
from undercroft.http.wire import page_of
from undercroft.kit.ids import render_id
from undercroft.sharing.requests.models import REQUEST_PREFIX, Wish

router = APIRouter(tags=["sharing"], route_class=NativeRoute)


class AskForAccess(TermsBody):
    """What is asked for."""

    resource: Annotated[
        str, Field(max_length=64, description="The id of a file, vector store, record or response.")
    ]
    message: Annotated[
        str | None, Field(min_length=1, max_length=2000, description="A few words to the owner.")
    ] = None


@router.post(
    "/v1/access-requests",
    summary="Ask for access",
    status_code=202,
    response_model=AskedObject,
    responses={**answers(202, "What was asked."), **errors(404, 429)},
)
async def ask_for_access(
    body: AskForAccess, caller: KnownSharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """The same is answered whether there is such a thing or not. Who asked sees the request once it was answered."""
    resource = require_resource(body.resource)
    wish = Wish(read_terms(body), body.message)
    request_id = await services.sharing.access_requests.ask(caller, resource, wish)
    return {
        "id": render_id(REQUEST_PREFIX, request_id),
        "object": "access_request",
        "status": "pending",
        "resource": render_resource(resource),
    }


@router.get(
    "/v1/access-requests",
    summary="List access requests",
    response_model=Page[AccessRequestObject],
    responses=errors(404, 410),
)
async def list_access_requests(
    caller: SharingReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    role: Annotated[
        Literal["owner", "asker"],
        Query(description="What you are asked for, or what you asked for and was answered."),
    ] = "owner",
) -> dict[str, Any]:
    """The newest first."""
    last = None if after is None else require_request_id(after, "after")
    found = await services.sharing.access_requests.list_requests(
        caller, asked=role == "asker", after=last, limit=limit + 1
    )
    return page_of(list(map(render_request, found)), limit)


@router.get(
    "/v1/access-requests/{request_id}",
    summary="Retrieve an access request",
    response_model=AccessRequestObject,
    responses=errors(404, 410),
)
async def retrieve_access_request(
    request_id: str, caller: SharingReader, services: ServicesDependency
) -> dict[str, Any]:
    """For the thing's owner; for who asked once it was answered."""
    return render_request(
        await services.sharing.access_requests.get(caller, require_request_id(request_id))
    )


@router.post(
    "/v1/access-requests/{request_id}/approve",
    summary="Approve an access request",
    response_model=AccessRequestObject,
    responses=errors(404, 409, 410),
)
async def approve_access_request(
    request_id: str,
    caller: SharingWriter,
    services: ServicesDependency,
    body: TermsBody | None = None,
) -> dict[str, Any]:
    """Grant what was asked for, or, with a body, less. ``grant`` names what was granted."""
    terms = None if body is None else read_terms(body)
    return render_request(
        await services.sharing.access_requests.approve(
            caller, require_request_id(request_id), terms
        )
    )


@router.post(
    "/v1/access-requests/{request_id}/deny",
    summary="Deny an access request",
    response_model=AccessRequestObject,
    responses=errors(404, 409, 410),
)
async def deny_access_request(
    request_id: str, caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Whoever asked is told no more than that."""
    return render_request(
        await services.sharing.access_requests.deny(caller, require_request_id(request_id))
    )
