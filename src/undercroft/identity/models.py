"""Tenants' users, their keys, and the principal that a request acts as."""

from dataclasses import dataclass, field
from datetime import datetime
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
    """What a route asks of its caller, and what a credential can be narrowed to (its *scopes*).

    Every route names exactly one. What may be done with one object is decided where the object is read.
    """

    DOCUMENTS_READ = "documents:read"
    """List and read documents, their versions and content, jobs and usage."""
    DOCUMENTS_WRITE = "documents:write"
    """Upload, change, trash and erase documents."""
    COLLECTIONS_READ = "collections:read"
    """List vector stores and their files."""
    COLLECTIONS_WRITE = "collections:write"
    """Make, change and delete vector stores; add and remove files."""
    RECORDS_READ = "records:read"
    """Read and search records and their schemas."""
    RECORDS_WRITE = "records:write"
    """Make, change, lock and delete records."""
    SCHEMAS_WRITE = "schemas:write"
    """Make, change and delete schemas, and migrate their records."""
    SEARCH = "search"
    """Search vector stores."""
    RESPONSES_READ = "responses:read"
    """Read kept answers."""
    RESPONSES_WRITE = "responses:write"
    """Ask for answers, which search the vector stores that the request names; delete kept ones."""
    MODELS = "models"
    """List models and make embeddings."""
    SHARING_READ = "sharing:read"
    """See who may see what, and why."""
    SHARING_WRITE = "sharing:write"
    """Grant and revoke, ask and answer, consent and withdraw."""
    AUDIT_READ = "audit:read"
    """Read the audit: of what one owns and did; for admins, the tenant's."""
    LEDGER_READ = "ledger:read"
    """Mirror the tenant's log: its tiles and entries, which name nobody (docs/ledger.md)."""
    MEMBERS_READ = "members:read"
    """See oneself and the groups one is in; for admins, everybody and every group."""
    MEMBERS_WRITE = "members:write"
    """Manage users, services and groups."""
    KEYS = "keys"
    """List, make and revoke one's own API keys and sessions; for admins, a service's keys."""
    TOKENS_READ = "tokens:read"
    """Ask whether a token is valid, and what it is good for."""
    TOKENS_REVOKE = "tokens:revoke"
    """Revoke a token that one holds."""
    ACT_FOR_USERS = "act_for_users"
    """Exchange a user's token for one with which a service acts for them."""
    ADMINISTER = "administer"
    """See and mend the tenant's operation, such as legal holds."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts as; the scope of its transactions.

    Attributes:
        credential_id: The API key or access token that was presented.
        actor_id: The service that acts for the user, where one does.
        scopes: What of the user's rights the credential carries; None for all.
        purpose: What the request is for, as its caller states it.
        must_enrol: Whether the tenant asks its people for a second factor and the user has none: they may enrol one,
            and nothing else.
    """

    tenant_id: UUID
    user_id: UUID
    credential_id: UUID
    role: Role
    kind: Kind = Kind.PERSON
    actor_id: UUID | None = None
    scopes: frozenset[Permission] | None = None
    purpose: str | None = None
    must_enrol: bool = False

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
    kind: Kind
    role: Role
    ledger_salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UserScope:
    """The scope of a user for whom an operator's command acts."""

    tenant_id: UUID
    principal_id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: operators read under no grant."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as people see it: never its secret.

    Attributes:
        prefix: The part of it that may be shown.
        scopes: What of its user's rights it carries; None for all.
    """

    id: UUID
    user_id: UUID
    prefix: str
    scopes: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class HeldKey:
    """An API key with whose it is, for the operator.

    Attributes:
        holder: The user's address, or the service's name.
    """

    key: ApiKey
    holder: str


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """A key that was revoked, and whose it was."""

    id: UUID
    user_id: UUID
    user_salt: bytes = field(repr=False)
