"""A registered issuer, and what a token of one says."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

ISSUER_PREFIX: Final = "issuer_"

DEFAULT_CLAIM: Final = "sub"
"""What names a user unless an admin says otherwise."""


@dataclass(frozen=True, slots=True)
class RequiredAuthentication:
    """How an issuer has to have authenticated somebody, as its tokens say (OpenID Connect Core, section 2).

    Attributes:
        acr_values: A token's `acr` is one of these; any is, or none, when there are none.
        amr_values: A token's `amr` has all of these.
        longest_age: Seconds since its `auth_time`; None when that is not asked.
    """

    acr_values: tuple[str, ...] = ()
    amr_values: tuple[str, ...] = ()
    longest_age: int | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """What an admin says of an issuer.

    Attributes:
        url: Its identifier, which its tokens have as ``iss`` in just this spelling.
        audience: What its tokens for this tenant have as ``aud``; ends with the tenant's id, or is fixed.
        algorithms: The only ones that its tokens may be signed with.
        subject_claim: The claim that names a user.
        creates_users: Whether somebody who is not known yet becomes a member of the tenant.
        trusts_addresses: Whether a verified address in a token names the tenant's user with that address.
        authentication: How its users have to have shown who they are.
    """

    url: str
    audience: str
    algorithms: tuple[str, ...]
    subject_claim: str = DEFAULT_CLAIM
    creates_users: bool = True
    trusts_addresses: bool = False
    authentication: RequiredAuthentication = RequiredAuthentication()


@dataclass(frozen=True, slots=True)
class FixedAudience:
    """An audience that an issuer does not let its clients choose, and whose it is: the operator says so.

    Attributes:
        tenant: The tenant's id on the wire.
        url: The issuer's.
    """

    tenant: str
    url: str
    audience: str


@dataclass(frozen=True, slots=True)
class Issuer:
    """A registration as it is kept."""

    id: UUID
    tenant_id: UUID
    registration: Registration
    created_at: datetime


@dataclass(frozen=True, slots=True)
class IssuerScope:
    """The scope in which somebody who comes by an issuer becomes a user: theirs already."""

    tenant_id: UUID
    principal_id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: nothing is read under a grant."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that was checked says of its bearer.

    Attributes:
        subject: Of another claim than `sub` with that claim's name before it.
        address: Their e-mail address, where the issuer has verified it.
    """

    subject: str
    address: str | None
