"""Documents, as their owner and those whom they are shared with see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.sharing.models import Release
from undercroft.sharing.ways import Access

DOCUMENT_PREFIX: Final = "file-"
LARGEST_VERSION: Final = (1 << 31) - 1
"""The largest number of a version that the database can count to."""


class IndexState(StrEnum):
    """How far a content is on its way into the search index."""

    UNINDEXED = "unindexed"
    """In no collection yet."""
    PENDING = "pending"
    INDEXED = "indexed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Document:
    """A document at its current version.

    Attributes:
        owner_id: Whose it is.
        access: How the caller comes to it. Name, content's size and type are shown to whoever comes to it at all.
        salt: What the ledger's commitments to the document are made with.
        byte_size: Length of the content, in bytes.
        media_type: What the content is, by its bytes.
        index_error: Why the content could not be indexed, for its owner to read.
        revision: Grows with every change, whoever makes it.
        is_sealed: Never indexed, and never shown to a model.
        deleted_at: Since when it is in the trash.
        purge_at: When it is erased from there.
        held_at: Since when it is under legal hold, and cannot be deleted.
        hold_reason: The code that was given for the hold.
    """

    id: UUID
    owner_id: UUID
    access: Access
    salt: bytes = field(repr=False)
    filename: str
    purpose: str
    version: int
    blob_id: UUID
    byte_size: int
    media_type: str
    index_state: IndexState
    index_error: str | None
    revision: int
    is_sealed: bool
    metadata: Mapping[str, str] = field(repr=False)
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    purge_at: datetime | None
    held_at: datetime | None
    hold_reason: str | None

    @property
    def releases(self) -> Sequence[Release]:
        """What a download of it rests on; nothing when it is the caller's own."""
        return () if self.access.action is None else (Release(self.id, self.access.way),)


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """One immutable state of a document.

    Attributes:
        number: From 1, without gaps.
        byte_size: Length of the content, in bytes.
        media_type: What the content is, by its bytes.
        sha256: Of the content.
        entry_id: The ledger's entry of its creation; None for what was made before there were receipts.
    """

    document_id: UUID
    number: int
    blob_id: UUID
    byte_size: int
    media_type: str
    sha256: bytes
    entry_id: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentChanges:
    """What to change of a document; None leaves as is."""

    name: str | None = None
    metadata: Mapping[str, str] | None = None
    is_sealed: bool | None = None

    @property
    def forget(self) -> bool:
        """Whether something is replaced that no version keeps."""
        return self.name is not None or self.metadata is not None


@dataclass(frozen=True, slots=True)
class LegalHold:
    """That a document cannot be deleted.

    Attributes:
        reason: A code, which the ledger has too.
    """

    document_id: UUID
    reason: str
    placed_at: datetime


@dataclass(frozen=True, slots=True)
class ExpiredDocument:
    """One whose time in the trash is over; the scope of its erasure."""

    tenant_id: UUID
    principal_id: UUID
    id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: owners need no grant."""


@dataclass(frozen=True, slots=True)
class NewBlob:
    """The row of a content that was received.

    Attributes:
        owner_id: Whose it becomes, whoever brought it.
        digest: Keyed, of the content: what equal contents of one owner are found by.
        byte_size: Length of the content, in bytes.
        stored_name: SHA-256 of the ciphertext.
    """

    id: UUID
    owner_id: UUID
    digest: bytes
    byte_size: int
    media_type: str
    data_key_id: UUID
    sealed_sha256: bytes
    stored_name: bytes


@dataclass(frozen=True, slots=True)
class NewDocument:
    """The row of a document that is being created."""

    id: UUID
    purpose: str
    data_key_id: UUID
    sealed_name: bytes
    sealed_metadata: bytes
    is_sealed: bool
