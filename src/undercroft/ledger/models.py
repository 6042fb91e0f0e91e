"""What is put into the ledger, and what is read out of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.kit.database import PURPOSE
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import ACTIONS, Action

ENTRY_PREFIX: Final = "entry_"
GRANT_PREFIX: Final = "grant_"
TENANT_PREFIX: Final = "tenant_"
USER_PREFIX: Final = "user_"
OPERATOR: Final = "operator"
"""The actor of what is done on the command line: in the clear, as it names no person."""
OPERATOR_ID: Final = UUID(int=(1 << 128) - 1)
"""Stands for it where users' ids stand; no user has it."""
SALT_BYTES: Final = 32

_REFERENCE: Final = re.compile(r"[a-z]+[_-][A-Za-z0-9._/-]{1,190}")


class Outcome(StrEnum):
    """Whether the act was let happen."""

    ALLOWED = "allowed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an act is about. The ledger names it only by a salted commitment.

    Attributes:
        reference: Its id on the wire: ``file-…``, ``rec_…``, ``user_…``.
        salt: 32 random bytes, kept with the subject's key and destroyed with it.
    """

    reference: str
    salt: bytes

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES:
            raise ValueError("a subject's salt has 32 bytes")
        if _REFERENCE.fullmatch(self.reference) is None:
            raise ValueError(f"{self.reference!r} is not the id of an object on the wire")


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that somebody did, or was refused.

    Attributes:
        action: What.
        resource: To what.
        owner_id: Whose that is, who sees the act in their audit besides the actor; None for what is the tenant's.
        version: Which version of it, from 1.
        outcome: Whether it happened.
        grant_id: What allowed it, where that was not ownership.
        purpose: The code of the purpose it was done for, at most 64 characters. Never a free text: it stays in the
            audit when the resource is erased.
        on_behalf_of: The user for whom the actor acted.
        content: SHA-256 of the plaintext that was read or written; the ledger gets a salted commitment to it.
        refusals: How many refusals this stands for, beyond those with entries of their own.
        trace: Number of the request that it was done for, where that is not the one being served.
    """

    action: Action
    resource: Subject
    owner_id: UUID | None
    version: int | None = None
    outcome: Outcome = Outcome.ALLOWED
    grant_id: UUID | None = None
    purpose: str | None = None
    on_behalf_of: UUID | None = None
    content: bytes | None = None
    refusals: int | None = None
    trace: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"{self.action!r} is not the name of an action")
        if self.version is not None and self.version < 1:
            raise ValueError("versions count from 1")
        if self.purpose is not None and PURPOSE.fullmatch(self.purpose) is None:
            raise ValueError("a purpose is a code, never a free text")
        if self.content is not None and len(self.content) != 32:
            raise ValueError("the content's SHA-256 has 32 bytes")
        if self.refusals is not None and (self.refusals < 1 or self.outcome is Outcome.ALLOWED):
            raise ValueError("what stands for refusals was denied, and is one at least")


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An act that is ready to be appended.

    Attributes:
        trace: Number of the request, or None.
        leaf: The canonical bytes that go into the tree.
    """

    id: UUID
    occurred_at: datetime
    act: Act
    trace: str | None
    leaf: bytes


def actor_of(scope: Scope) -> UUID:
    """Who acts in a scope, as the ledger names them: the service, where one acts for the principal."""
    return scope.principal_id if scope.actor_id is None else scope.actor_id


@dataclass(frozen=True, slots=True)
class LogScope:
    """The scope in which a tenant's log is numbered and its keys are read: nobody acts."""

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
        """None: nothing is read under a grant."""


@dataclass(frozen=True, slots=True)
class OperatorScope:
    """The scope in which whoever runs the command line acts on a tenant, and goes on record."""

    tenant_id: UUID

    @property
    def principal_id(self) -> UUID:
        """The operator."""
        return OPERATOR_ID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: operators read under no grant."""


@dataclass(frozen=True, slots=True)
class ActorScope:
    """The scope of a user whose acts the service itself puts on record."""

    tenant_id: UUID
    principal_id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: it reads nothing under a grant."""


@dataclass(frozen=True, slots=True)
class CountedRefusals:
    """Refusals of one person, of one action, on what one owner has, that are counted and no more appended.

    Attributes:
        owner_id: None for what is the tenant's.
    """

    tenant_id: UUID
    actor_id: UUID
    action: Action
    owner_id: UUID | None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A log's signing key as it is stored.

    Attributes:
        name: The log's origin.
        wrapped_private_key: The 32 bytes of the private key, wrapped by the key provider.
    """

    number: int
    name: str
    public_key: bytes
    wrapped_private_key: bytes


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where a log is.

    Attributes:
        frontier: Roots of the complete subtrees that make up the tree, the largest first.
        key_number: The newest key that signed the checkpoint; None before the first.
        newest_key: The newest key there is; None before the first.
    """

    log_id: UUID
    size: int
    frontier: tuple[bytes, ...]
    key_number: int | None
    newest_key: int | None


@dataclass(frozen=True, slots=True)
class PendingLogs:
    """Logs with entries that have no number yet.

    Attributes:
        tenant_ids: Whose they are, in order.
        running_from: The oldest transaction id that was running when they were looked for. Of what any lower one has
            appended, the tenants are all here.
    """

    tenant_ids: Sequence[UUID]
    running_from: int


@dataclass(frozen=True, slots=True)
class PendingEntries:
    """How far numbering is behind.

    Attributes:
        count: How many entries have no number yet.
        oldest: When the oldest of them was made.
    """

    count: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class NumberedEntries:
    """Entries that were moved into a log.

    Attributes:
        leaves: Their bytes, in order.
        settled_below: A transaction id below which nothing is pending in this log, nor ever will be; 0 for none.
    """

    leaves: Sequence[bytes]
    settled_below: int


@dataclass(frozen=True, slots=True)
class LogState:
    """What is published of a log: its size, and the checkpoint over just that many entries."""

    id: UUID
    size: int
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class LogDescription:
    """A tenant's log, as whoever wants to mirror or to verify it needs it.

    Attributes:
        verifier_keys: Of the keys that sign now, the newest first, in the form of C2SP signed-note.
    """

    id: UUID
    origin: str
    verifier_keys: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry as people read it."""

    id: UUID
    position: int
    occurred_at: datetime
    actor_id: UUID
    owner_id: UUID | None
    on_behalf_of: UUID | None
    action: str
    resource: str
    version: int | None
    outcome: Outcome
    grant_id: UUID | None
    purpose: str | None
    trace: str | None
    refusals: int | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries to list. None leaves a field open.

    Attributes:
        since: The earliest time, included.
        until: The latest time, excluded.
    """

    resource: str | None = None
    actor_id: UUID | None = None
    actions: frozenset[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a commitment: SHA-256 of the salt followed by the value.

    Attributes:
        field: Which field of the entry it opens.
        value: The value; None where only its owner can make it again, as with a content's hash.
    """

    field: str
    value: str | None
    salt: bytes


@dataclass(frozen=True, slots=True)
class OpenedEntry:
    """An entry with the bytes that are in the tree, and what opens its commitments for this reader."""

    entry: AuditEntry
    leaf: bytes
    openings: tuple[Opening, ...]
