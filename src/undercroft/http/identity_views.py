"""Users, groups and keys as the native routes show them."""

from uuid import UUID

from starlette.responses import JSONResponse, Response

from undercroft.http.conditional import is_known, revision_tag
from undercroft.http.wire import JsonObject, render_time, require_id
from undercroft.identity.groups.models import GROUP_PREFIX, Group, GroupMember
from undercroft.identity.members.models import Member
from undercroft.identity.models import KEY_PREFIX, ApiKey, Principal, Role
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import USER_PREFIX


def viewer_id(caller: Principal) -> UUID | None:
    """Who looks at users; None for an admin, who sees them all."""
    return None if caller.role is Role.ADMIN else caller.user_id


def require_user_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(USER_PREFIX, "user", text, param)


def require_group_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(GROUP_PREFIX, "group", text, param)


def require_key_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(KEY_PREFIX, "API key", text, param)


def render_user(member: Member) -> JsonObject:
    """A user."""
    return {
        "id": user_reference(member.id),
        "object": "user",
        "kind": member.kind,
        "email": member.email,
        "name": member.name,
        "role": member.role,
        "suspended_at": render_time(member.suspended_at),
        "created_at": render_time(member.created_at),
    }


def answer_user(member: Member, if_none_match: str | None = None) -> Response:
    """A user with their entity tag, or 304 for who knows that they are at it."""
    return _answer(render_user(member), member.revision, if_none_match)


def created_user(member: Member) -> Response:
    """A user who was just made."""
    return _created(render_user(member), member.revision, f"/v1/users/{user_reference(member.id)}")


def render_group(group: Group) -> JsonObject:
    """A group."""
    return {
        "id": render_id(GROUP_PREFIX, group.id),
        "object": "group",
        "name": group.name,
        "created_at": render_time(group.created_at),
    }


def answer_group(group: Group, if_none_match: str | None = None) -> Response:
    """A group with its entity tag, or 304 for who knows that it is at it."""
    return _answer(render_group(group), group.revision, if_none_match)


def created_group(group: Group) -> Response:
    """A group that was just made."""
    place = f"/v1/groups/{render_id(GROUP_PREFIX, group.id)}"
    return _created(render_group(group), group.revision, place)


def render_group_member(group_id: str, member: GroupMember) -> JsonObject:
    """A user in a group."""
    return {
        "id": user_reference(member.user_id),
        "object": "group.member",
        "group": group_id,
        "kind": member.kind,
        "email": member.email,
        "name": member.name,
        "added_at": render_time(member.added_at),
    }


def render_key(key: ApiKey) -> JsonObject:
    """A key, without its secret, which nobody has any more."""
    return {
        "id": render_id(KEY_PREFIX, key.id),
        "object": "api_key",
        "user": user_reference(key.user_id),
        "prefix": key.prefix,
        "scopes": None if key.scopes is None else sorted(key.scopes),
        "created_at": render_time(key.created_at),
        "expires_at": render_time(key.expires_at),
        "revoked_at": render_time(key.revoked_at),
        "last_used_at": render_time(key.last_used_at),
    }


def _answer(shown: JsonObject, revision: int, if_none_match: str | None) -> Response:
    tag = revision_tag(revision)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers=headers)
    return JSONResponse(shown, headers=headers)


def _created(shown: JsonObject, revision: int, place: str) -> Response:
    return JSONResponse(shown, 201, {"ETag": revision_tag(revision), "Location": place})
