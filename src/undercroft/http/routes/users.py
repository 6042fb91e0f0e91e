"""The users of a tenant: admins manage them, everybody sees themselves."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import MemberReader, MemberWriter
from undercroft.http.conditional import (
    IfMatch,
    IfNoneMatch,
    expected_revisions,
    require_revisions,
)
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.identity_objects import UserObject
from undercroft.http.identity_views import (
    answer_user,
    created_user,
    render_user,
    require_user_id,
    viewer_id,
)
from undercroft.http.objects import Deleted, Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import RequestBody, page_of
from undercroft.identity.models import Kind, Role

router = APIRouter(tags=["users"], route_class=NativeRoute)

RoleName = Literal["admin", "member"]


class CreateUser(RequestBody):
    """A person of the tenant's, or a guest from outside."""

    email: Annotated[str, Field(min_length=3, max_length=320)]
    kind: Literal["person", "guest"] = "person"
    role: RoleName = "member"


class CreateService(RequestBody):
    """A program of the tenant's."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: RoleName = "member"


class UpdateUser(RequestBody):
    """What is to change of a user."""

    role: RoleName


@router.post(
    "/v1/users",
    summary="Invite a user",
    status_code=201,
    response_model=UserObject,
    responses={**answers(201, "The user.", "ETag", "Location"), **errors(409)},
)
async def create_user(
    body: CreateUser, caller: MemberWriter, services: ServicesDependency
) -> Response:
    """Make a person, or a guest: somebody from outside who is not "everyone in the tenant". Admins only."""
    return created_user(
        await services.people.members.invite(caller, body.email, Kind(body.kind), Role(body.role))
    )


@router.post(
    "/v1/services",
    summary="Create a service",
    status_code=201,
    response_model=UserObject,
    responses={**answers(201, "The service, a user.", "ETag", "Location"), **errors(409)},
)
async def create_service(
    body: CreateService, caller: MemberWriter, services: ServicesDependency
) -> Response:
    """Make a user that is a program: it owns what it makes and acts by its own keys. Admins only."""
    return created_user(
        await services.people.members.create_service(caller, body.name, Role(body.role))
    )


@router.get(
    "/v1/users", summary="List users", response_model=Page[UserObject], responses=errors(404)
)
async def list_users(
    caller: MemberReader, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """The tenant's users, the oldest first, for an admin; the caller alone for anybody else."""
    place = None if after is None else require_user_id(after, "after")
    found = await services.people.members.list_members(caller, viewer_id(caller), place, limit + 1)
    return page_of([render_user(member) for member in found], limit)


@router.get(
    "/v1/users/{user_id}",
    summary="Get a user",
    response_model=UserObject,
    responses={
        **answers(200, "The user.", "ETag"),
        **answers(304, "The caller knows this revision.", "ETag"),
        **errors(404),
    },
)
async def get_user(
    user_id: str,
    caller: MemberReader,
    services: ServicesDependency,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Anybody, for an admin; the caller for anybody else."""
    member = await services.people.members.get(caller, viewer_id(caller), require_user_id(user_id))
    return answer_user(member, if_none_match)


@router.patch(
    "/v1/users/{user_id}",
    summary="Change a user's role",
    response_model=UserObject,
    responses={
        **answers(200, "The user at their new revision.", "ETag"),
        **errors(404, 409, 412, 428),
    },
)
async def update_user(
    user_id: str,
    body: UpdateUser,
    caller: MemberWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
) -> Response:
    """From the next request on. The last admin who can act stays one. Admins only."""
    revisions = require_revisions(if_match)
    member = await services.people.members.change_role(
        caller, require_user_id(user_id), Role(body.role), revisions
    )
    return answer_user(member)


@router.post(
    "/v1/users/{user_id}/suspend",
    summary="Suspend a user",
    response_model=UserObject,
    responses={
        **answers(200, "The user at their new revision.", "ETag"),
        **errors(404, 409, 412),
    },
)
async def suspend_user(
    user_id: str, caller: MemberWriter, services: ServicesDependency, if_match: IfMatch = None
) -> Response:
    """They can do nothing from now on. Their access tokens end for good, their keys until they are reinstated."""
    member = await services.people.members.suspend(
        caller, require_user_id(user_id), expected_revisions(if_match)
    )
    return answer_user(member)


@router.post(
    "/v1/users/{user_id}/reinstate",
    summary="Reinstate a user",
    response_model=UserObject,
    responses={**answers(200, "The user at their new revision.", "ETag"), **errors(404, 412)},
)
async def reinstate_user(
    user_id: str, caller: MemberWriter, services: ServicesDependency, if_match: IfMatch = None
) -> Response:
    """Let a suspended user act again. Admins only."""
    member = await services.people.members.reinstate(
        caller, require_user_id(user_id), expected_revisions(if_match)
    )
    return answer_user(member)


@router.delete(
    "/v1/users/{user_id}",
    summary="Remove a user",
    response_model=Deleted,
    responses=errors(404, 409, 412),
)
async def delete_user(
    user_id: str, caller: MemberWriter, services: ServicesDependency, if_match: IfMatch = None
) -> dict[str, Any]:
    """Only one who owns nothing: nothing of what anybody keeps goes with them. Admins only."""
    await services.people.members.remove(
        caller, require_user_id(user_id), expected_revisions(if_match)
    )
    return {"id": user_id, "object": "user.deleted", "deleted": True}
