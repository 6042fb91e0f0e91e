"""Grants, what they limit, and the ways in which they let a caller do something."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

GROUP_PREFIX: Final = "group_"


class ResourceKind(StrEnum):
    """What can be shared, by the prefix of its id on the wire."""

    DOCUMENT = "file-"
    COLLECTION = "vs_"
    RECORD = "rec_"
    RESPONSE = "resp_"
    CONVERSATION = "conv_"


class GrantAction(StrEnum):
    """What a grant lets its holder do."""

    SEARCH = "search"
    """Find passages of it, and have answers made from them."""
    READ = "read"
    """Read it whole: a document's details and text, a record's fields, what is in a collection."""
    READ_PARTS = "read_parts"
    """Read the text of the pages and sections that the grant names."""
    DOWNLOAD = "download"
    """Fetch the bytes as they were uploaded."""
    COMMENT = "comment"
    WRITE = "write"
    """Change it: a new version, other fields, other documents in a collection, more items. Never delete it."""
    SHARE = "share"
    """Share it on, and never more of it."""


class ModelUse(StrEnum):
    """What models may do with what was shared."""

    QUOTE = "quote"
    """Answers may repeat it word for word."""
    SUMMARISE = "summarise"
    """Answers may be made from it."""
    EXTERNAL = "external"
    """Models of other companies may be sent it."""


EVERY_MODEL_USE: Final = frozenset(ModelUse)


class GranteeKind(StrEnum):
    """To whom a grant is made out."""

    USER = "user"
    GROUP = "group"
    TENANT = "tenant"


class Ending(StrEnum):
    """Why a grant is over, where that is not its time."""

    REVOKED = "revoked"
    USED_UP = "used_up"
    WITHDRAWN = "withdrawn"
    """The consent that it rested on was."""
    LEFT_GROUP = "left_group"
    """Whoever shared it on left the group that it was shared with."""
    UNCONSENTED = "unconsented"
    """The thing became personal, or about somebody else, who has not agreed to it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that can be shared."""

    kind: ResourceKind
    id: UUID


@dataclass(frozen=True, slots=True)
class Grantee:
    """Whom a grant is made out to.

    Attributes:
        id: The user or the group; of everyone in the tenant, the tenant.
    """

    kind: GranteeKind
    id: UUID


@dataclass(frozen=True, slots=True)
class Invitee:
    """Whom a grant is made out to by e-mail address: a user, or else a guest whom it makes."""

    email: str


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages from 1, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Some of a document's pages and some of its sections; a passage is part of it when either holds it.

    Attributes:
        sections: Headings, as the document has them. One holds what stands below it.
    """

    pages: Sequence[PageRange] = ()
    sections: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a grant allows and within which limits. None is no limit.

    Attributes:
        fields: JSON Pointers to the parts of a record that may be read.
        parts: The parts of a document that may be read.
        purpose: The code that a caller has to state.
        max_uses: How many downloads and answers.
        model_use: What models may do with it.
    """

    actions: frozenset[GrantAction]
    fields: frozenset[str] | None = None
    parts: Parts | None = None
    purpose: str | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    max_uses: int | None = None
    model_use: frozenset[ModelUse] | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as it is kept.

    Attributes:
        parent_id: The grant under which it was made; None when the resource's owner made it.
        cut_at: When what its last use still did was cut.
        consent_id: What a grant of something personal rests on.
    """

    id: UUID
    resource: Resource
    owner_id: UUID
    grantor_id: UUID
    parent_id: UUID | None
    grantee: Grantee
    terms: Terms
    uses: int
    created_at: datetime
    ended_at: datetime | None
    ending: Ending | None
    cut_at: datetime | None = None
    consent_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ConsentBasis:
    """What a grant of something personal may rest on.

    Attributes:
        subject_id: Whom the thing is about.
        consent_id: A live consent of theirs to that purpose; None when there is none.
        valid_until: Until when it counts. It and ``purpose`` mean nothing without a consent.
    """

    subject_id: UUID
    consent_id: UUID | None
    purpose: str
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class GrantLimits:
    """What of a grant's terms is decided after the database has found that it counts.

    Attributes:
        is_counted: Whether each use has to be counted.
    """

    id: UUID
    fields: frozenset[str] | None = None
    parts: Parts | None = None
    model_use: frozenset[ModelUse] | None = None
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a caller may do something: the grants that it rests on together; none for what is theirs."""

    grants: Sequence[GrantLimits] = ()


OWN: Final = Way()
"""The way of an owner."""

OWNED: Final = (OWN,)
"""The ways of an owner."""


@dataclass(frozen=True, slots=True)
class Release:
    """A document that is being read, or something that itself was granted: a conversation, a response.

    Attributes:
        document_id: None for what the grants themselves are of.
        way: Without grants, its owner has put it into a vector store of the reader's, or it is theirs.
        is_own: Whether it is the reader's. Theirs are lost, too: put into the trash, or sealed.
        is_searched: Whether it is read as passages, which there are none of once it is sealed.
        version: Which version of the document, where that goes on record.
    """

    document_id: UUID | None
    way: Way
    is_own: bool = False
    is_searched: bool = False
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Dependency:
    """What something that runs depends on: one grant of those that a release rests on, or that it takes none.

    Without a document and a grant it is its reader alone.

    Attributes (others as of the release):
        holder_id: Who reads.
        actor_id: The service that acts for them, where one does.
    """

    holder_id: UUID
    actor_id: UUID | None
    document_id: UUID | None
    grant_id: UUID | None
    is_searched: bool


@dataclass(frozen=True, slots=True)
class SharedResource:
    """What the service knows of a resource to share it.

    Attributes:
        salt: Of the ledger's commitments to it.
    """

    resource: Resource
    owner_id: UUID
    salt: bytes = field(repr=False)
