"""What the routes of users, groups and keys answer, for the OpenAPI document."""

from typing import Annotated, Literal

from pydantic import Field

from undercroft.http.objects import Shown, Time


class UserObject(Shown):
    """A user of the tenant: a person, a guest from outside, or a service."""

    id: str
    object: Literal["user"]
    kind: Literal["person", "guest", "service"]
    email: Annotated[str | None, Field(description="Null for a service.")]
    name: Annotated[str | None, Field(description="Of a service; null for everybody else.")]
    role: Literal["admin", "member"]
    suspended_at: Time | None
    created_at: Time


class GroupObject(Shown):
    """A group of users."""

    id: str
    object: Literal["group"]
    name: str
    created_at: Time


class GroupMemberObject(Shown):
    """A user in a group."""

    id: Annotated[str, Field(description="The user's.")]
    object: Literal["group.member"]
    group: str
    kind: Literal["person", "guest", "service"]
    email: str | None
    name: str | None
    added_at: Time


class ApiKeyObject(Shown):
    """An API key, without its secret."""

    id: str
    object: Literal["api_key"]
    user: str
    prefix: Annotated[str, Field(description="What may be shown of the key.")]
    scopes: Annotated[
        list[str] | None, Field(description="Null for all that its user may be allowed.")
    ]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Annotated[Time | None, Field(description="To the minute.")]


class NewApiKeyObject(ApiKeyObject):
    """A new API key."""

    secret: Annotated[str, Field(description="The key itself. It is shown this once.")]


class IssuerObject(Shown):
    """An issuer of tokens from outside."""

    id: str
    object: Literal["issuer"]
    issuer: str
    audience: str
    algorithms: list[str]
    subject_claim: str
    creates_users: bool
    trusts_addresses: bool
    acr_values: list[str]
    amr_values: list[str]
    max_auth_age: int | None
    created_at: Time
