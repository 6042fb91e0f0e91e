"""Documents, as their owner sees them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


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
        salt: What the ledger's commitments to the document are made with.
        byte_size: Length of the content, in bytes.
        media_type: What the content is, by its bytes.
        index_error: Why the content could not be indexed, for its owner to read.
    """

    id: UUID
    salt: bytes = field(repr=False)
    filename: str
    purpose: str
    version: int
    blob_id: UUID
    byte_size: int
    media_type: str
    index_state: IndexState
    index_error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewBlob:
    """The row of a content that was received.

    Attributes:
        digest: Keyed, of the content: what equal contents of one owner are found by.
        byte_size: Length of the content, in bytes.
        stored_name: SHA-256 of the ciphertext.
    """

    id: UUID
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
