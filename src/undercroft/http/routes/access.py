"""Who may do what, and why."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from undercroft.http.callers import SharingReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import Page, Shown
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import Limit
from undercroft.http.sharing_views import (
    ActionName,
    GrantObject,
    render_grant,
    render_resource,
    require_resource,
)
from undercroft.http.wire import RequestBody, page_of, require_id
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import USER_PREFIX
from undercroft.sharing.access import Explanation
from undercroft.sharing.models import Grant, GrantAction, Way

router = APIRouter(tags=["sharing"], route_class=NativeRoute)


class CheckAccess(RequestBody):
    """May somebody do something with a thing?"""

    resource: Annotated[str, Field(max_length=64)]
    action: ActionName
    principal: Annotated[
        str | None,
        Field(max_length=64, description="A user's id, of what is yours; without it, yourself."),
    ] = None


class WayObject(Shown):
    """One way in which it is allowed: chains of grants that hold together. No chain: it is theirs.

    A chain begins with the grant that counts; each next one is that under which the one before was made.
    """

    chains: list[list[GrantObject]]


class DecisionObject(Shown):
    """Whether somebody may, and why."""

    object: Literal["access.decision"]
    resource: str
    principal: str
    action: ActionName
    allowed: bool
    because: list[WayObject]


class AccessObject(Shown):
    """What somebody may do with a thing, and why."""

    id: str
    object: Literal["access"]
    resource: str
    principal: str
    owner: bool
    actions: dict[ActionName, list[WayObject]]


@router.post(
    "/v1/access/check",
    summary="Ask whether somebody may",
    response_model=DecisionObject,
    responses=errors(404),
)
async def check_access(
    body: CheckAccess, caller: SharingReader, services: ServicesDependency
) -> dict[str, Any]:
    """Decided by what every read and change is decided by. A purpose counts as stated in Undercroft-Purpose."""
    resource = require_resource(body.resource)
    principal = body.principal and require_id(USER_PREFIX, "user", body.principal, "principal")
    explained = await services.sharing.access.explain(caller, resource, principal or None)
    ways = explained.ways.get(GrantAction(body.action), ())
    return {
        "object": "access.decision",
        "resource": body.resource,
        "principal": user_reference(explained.principal_id),
        "action": body.action,
        "allowed": bool(ways),
        "because": _render_ways(ways, explained.chains),
    }


@router.get(
    "/v1/access/principals",
    summary="List who can see something",
    response_model=Page[AccessObject],
    responses=errors(404),
)
async def list_principals(
    caller: SharingReader,
    services: ServicesDependency,
    resource: Annotated[str, Query(max_length=64, description="What is yours.")],
    limit: Limit = 20,
    after: Annotated[str | None, Query(max_length=64, description="A user's id.")] = None,
) -> dict[str, Any]:
    """Everybody who can do anything with it, each with why. That you looked is put on record.

    For whichever purpose they would have to state; with Undercroft-Purpose, for that one.
    """
    last = None if after is None else require_id(USER_PREFIX, "user", after, "after")
    found = await services.sharing.access.list_principals(
        caller, require_resource(resource), after=last, limit=limit + 1
    )
    return page_of([_render(one, user_reference(one.principal_id)) for one in found], limit)


@router.get(
    "/v1/access/resources",
    summary="List what you can see",
    response_model=Page[AccessObject],
    responses=errors(404),
)
async def list_resources(
    caller: SharingReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: Annotated[str | None, Query(max_length=64, description="A resource's id.")] = None,
) -> dict[str, Any]:
    """Everything that you can do anything with, yours and shared with you, each with why.

    For whichever purpose you would have to state; with Undercroft-Purpose, for that one.
    """
    last = None if after is None else require_resource(after, "after").id
    found = await services.sharing.access.list_resources(caller, after=last, limit=limit + 1)
    return page_of([_render(one, render_resource(one.resource)) for one in found], limit)


def _render(explained: Explanation, object_id: str) -> dict[str, Any]:
    return {
        "id": object_id,
        "object": "access",
        "resource": render_resource(explained.resource),
        "principal": user_reference(explained.principal_id),
        "owner": explained.is_owner,
        "actions": {
            action: _render_ways(ways, explained.chains) for action, ways in explained.ways.items()
        },
    }


def _render_ways(ways: Sequence[Way], grants: Mapping[UUID, Grant]) -> list[dict[str, Any]]:
    return [{"chains": [_render_chain(grant.id, grants) for grant in way.grants]} for way in ways]


def _render_chain(grant_id: UUID, grants: Mapping[UUID, Grant]) -> list[dict[str, Any]]:
    chain: list[dict[str, Any]] = []
    next_id: UUID | None = grant_id
    while next_id is not None:
        grant = grants[next_id]
        chain.append(render_grant(grant))
        next_id = grant.parent_id
    return chain
