"""Accounts, the codes that are sent to their addresses, and who asks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.identity.models import Kind, Role
from undercroft.kit.tokens import hash_token, is_token, make_token

_CODE_PREFIX: Final = "uc_"


class CodePurpose(StrEnum):
    """What a code from a mail is good for."""

    SIGN_UP = "sign_up"
    INVITATION = "invitation"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - no password
    VERIFICATION = "verification"


CODE_LIFETIMES: Final = {
    CodePurpose.SIGN_UP: timedelta(days=1),
    CodePurpose.INVITATION: timedelta(days=7),
    CodePurpose.PASSWORD_RESET: timedelta(hours=1),
    CodePurpose.VERIFICATION: timedelta(days=1),
}
MOST_CODES: Final = 3
"""Good at once, of one purpose and one address. Whoever asks for more gets no mail: the last ones are still good."""


NO_TENANT: Final = UUID(int=0)
"""Stands for a tenant that is not there: it has no row, so everything is looked for in it and nothing is found."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends a request, before anybody knows who that is.

    Attributes:
        address: Its network address; None where there is none, as on a socket in the file system.
        user_agent: What it calls itself.
    """

    address: str | None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Visitor:
    """The scope of somebody who is nobody yet, in the tenant that they name."""

    tenant_id: UUID

    @property
    def principal_id(self) -> UUID:
        """Nobody."""
        return UUID(int=0)

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: it reads nothing under a grant."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with an address.

    Attributes:
        encoded: The hash of their password; None when they have none yet.
    """

    id: UUID
    tenant_id: UUID
    tenant_name: str
    email: str
    kind: Kind
    role: Role
    is_verified: bool
    is_suspended: bool
    encoded: str | None = field(repr=False)
    ledger_salt: bytes = field(repr=False)

    @property
    def principal_id(self) -> UUID:
        """The user: an account is the scope of what its person does with it."""
        return self.id

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: it reads nothing under a grant."""


@dataclass(frozen=True, slots=True)
class MailCode:
    """A code that was sent, without the code.

    Attributes:
        user_id: Whose it is; None for somebody who signs up.
        email: The address of somebody who signs up.
    """

    purpose: CodePurpose
    user_id: UUID | None
    email: str | None


@dataclass(frozen=True, slots=True)
class AttemptCount:
    """How often something was tried in vain.

    Attributes:
        wait: Seconds until it may be tried again.
        is_known: Of an address and an account: whether the person has signed in from there.
    """

    failures: int
    wait: int
    is_known: bool


def make_code(entropy: Callable[[int], bytes]) -> str:
    """A code, from 32 random bytes: nobody guesses one, so nobody's guesses are counted."""
    return make_token(_CODE_PREFIX, entropy)


def hash_code(code: str) -> bytes | None:
    """What is stored of a code; None for rubbish, which never reaches the database."""
    return hash_token(code) if is_token(_CODE_PREFIX, code) else None
