"""Groups of a tenant's users: admins manage them, and members see those they are in."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import MemberReader, MemberWriter
from undercroft.http.conditional import (
    IfMatch,
    IfNoneMatch,
    expected_revisions,
    require_revisions,
)
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.identity_objects import GroupMemberObject, GroupObject
from undercroft.http.identity_views import (
    answer_group,
    created_group,
    render_group,
    render_group_member,
    require_group_id,
    require_user_id,
)
from undercroft.http.objects import Deleted, Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import RequestBody, page_of
from undercroft.identity.groups.service import viewer_of

router = APIRouter(tags=["groups"], route_class=NativeRoute)


class NamedGroup(RequestBody):
    """A group's name; no other group of the tenant has it."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class AddGroupMember(RequestBody):
    """Who comes into the group."""

    user: Annotated[str, Field(max_length=64, description="Id of a user: user_...")]


@router.post(
    "/v1/groups",
    summary="Create a group",
    status_code=201,
    response_model=GroupObject,
    responses={**answers(201, "The group.", "ETag", "Location"), **errors(409)},
)
async def create_group(
    body: NamedGroup, caller: MemberWriter, services: ServicesDependency
) -> Response:
    """An empty group. Admins only."""
    return created_group(await services.people.groups.create(caller, body.name))


@router.get(
    "/v1/groups", summary="List groups", response_model=Page[GroupObject], responses=errors(404)
)
async def list_groups(
    caller: MemberReader, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """The tenant's groups, the oldest first, for an admin; those that the caller is in for anybody else."""
    place = None if after is None else require_group_id(after, "after")
    found = await services.people.groups.list_groups(caller, viewer_of(caller), place, limit + 1)
    return page_of([render_group(group) for group in found], limit)


@router.get(
    "/v1/groups/{group_id}",
    summary="Get a group",
    response_model=GroupObject,
    responses={
        **answers(200, "The group.", "ETag"),
        **answers(304, "The caller knows this revision.", "ETag"),
        **errors(404),
    },
)
async def get_group(
    group_id: str,
    caller: MemberReader,
    services: ServicesDependency,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Any group, for an admin; one that the caller is in for anybody else."""
    group = await services.people.groups.get(caller, viewer_of(caller), require_group_id(group_id))
    return answer_group(group, if_none_match)


@router.patch(
    "/v1/groups/{group_id}",
    summary="Rename a group",
    response_model=GroupObject,
    responses={
        **answers(200, "The group at its new revision.", "ETag"),
        **errors(404, 409, 412, 428),
    },
)
async def update_group(
    group_id: str,
    body: NamedGroup,
    caller: MemberWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
) -> Response:
    """What was granted to the group stays granted. Admins only."""
    revisions = require_revisions(if_match)
    group = await services.people.groups.rename(
        caller, require_group_id(group_id), body.name, revisions
    )
    return answer_group(group)


@router.delete(
    "/v1/groups/{group_id}",
    summary="Delete a group",
    response_model=Deleted,
    responses=errors(404, 412),
)
async def delete_group(
    group_id: str, caller: MemberWriter, services: ServicesDependency, if_match: IfMatch = None
) -> dict[str, Any]:
    """What was granted to the group ends. Its members stay users of the tenant. Admins only."""
    await services.people.groups.delete(
        caller, require_group_id(group_id), expected_revisions(if_match)
    )
    return {"id": group_id, "object": "group.deleted", "deleted": True}


@router.get(
    "/v1/groups/{group_id}/members",
    summary="List the members of a group",
    response_model=Page[GroupMemberObject],
    responses=errors(404),
)
async def list_group_members(
    group_id: str,
    caller: MemberReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """Who is in it, for admins and the tenant's people who are; guests and services see themselves alone."""
    place = None if after is None else require_user_id(after, "after")
    found = await services.people.groups.list_members(
        caller, viewer_of(caller), require_group_id(group_id), place, limit + 1
    )
    return page_of([render_group_member(group_id, member) for member in found], limit)


@router.post(
    "/v1/groups/{group_id}/members",
    summary="Add a member to a group",
    status_code=201,
    response_model=GroupMemberObject,
    responses={
        **answers(200, "The member, who was one before."),
        **answers(201, "The member.", "Location"),
        **errors(404),
    },
)
async def add_group_member(
    group_id: str, body: AddGroupMember, caller: MemberWriter, services: ServicesDependency
) -> Response:
    """What is granted to the group is granted to them from now on. Admins only."""
    user_id = require_user_id(body.user, "user")
    member, is_new = await services.people.groups.add_member(
        caller, require_group_id(group_id), user_id
    )
    shown = render_group_member(group_id, member)
    if not is_new:
        return JSONResponse(shown)
    return JSONResponse(shown, 201, {"Location": f"/v1/groups/{group_id}/members/{body.user}"})


@router.get(
    "/v1/groups/{group_id}/members/{user_id}",
    summary="Get a member of a group",
    response_model=GroupMemberObject,
    responses=errors(404),
)
async def get_group_member(
    group_id: str, user_id: str, caller: MemberReader, services: ServicesDependency
) -> dict[str, Any]:
    """Whether somebody is in a group, and since when."""
    member = await services.people.groups.get_member(
        caller, viewer_of(caller), require_group_id(group_id), require_user_id(user_id)
    )
    return render_group_member(group_id, member)


@router.delete(
    "/v1/groups/{group_id}/members/{user_id}",
    summary="Remove a member from a group",
    response_model=Deleted,
    responses=errors(404),
)
async def remove_group_member(
    group_id: str, user_id: str, caller: MemberWriter, services: ServicesDependency
) -> dict[str, Any]:
    """What was granted to the group ends for them. Admins only."""
    await services.people.groups.remove_member(
        caller, require_group_id(group_id), require_user_id(user_id)
    )
    return {"id": user_id, "object": "group.member.deleted", "deleted": True}
