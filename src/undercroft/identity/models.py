"""Tenants' users, their keys, and the principal that a request acts as."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

KEY_PREFIX: Final = "key_"


class Role(StrEnum):
    """What a user may do in the tenant, apart from what they own."""

    ADMIN = "admin"
    """Manages members, keys and jobs. Reads nobody else's content."""
    MEMBER = "member"


class Kind(StrEnum):
    """What sort of principal acts."""

    PERSON = "person"
    GUEST = "guest"
    """A person from outside, invited to single things; not one of "everyone in the tenant"."""
    SERVICE = "service"
    """A program of the tenant's."""
    LINK = "link"
    """Whoever holds the token of a share link."""


class Permission(StrEnum):
    """What a route asks of its caller. Every route names exactly one."""

    USE = "use"
    """Work with what one owns."""
    ADMINISTER = "administer"
    """See and mend the tenant's operation."""
    READ_LEDGER = "ledger:read"
    """Mirror the tenant's log: its tiles and entries, which name nobody (docs/ledger.md)."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts as; the scope of its transactions.

    Attributes:
        credential_id: The API key or access token that was presented.
        actor_id: The service that acts for the user, where one does.
        scopes: What of the user's rights the credential carries; None for all.
    """

    tenant_id: UUID
    user_id: UUID
    credential_id: UUID
    role: Role
    kind: Kind = Kind.PERSON
    actor_id: UUID | None = None
    scopes: frozenset[Permission] | None = None

    @property
    def principal_id(self) -> UUID:
        """The id that ownership is compared with."""
        return self.user_id


@dataclass(frozen=True, slots=True)
class User:
    """A person in a tenant."""

    id: UUID
    tenant_id: UUID
    email: str
    role: Role
    ledger_salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UserScope:
    """The scope of a user for whom an operator's command acts."""

    tenant_id: UUID
    principal_id: UUID


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """A key that was revoked, and whose it was."""

    id: UUID
    user_id: UUID
    user_salt: bytes = field(repr=False)
