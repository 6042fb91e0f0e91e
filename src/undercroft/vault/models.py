"""Documents, as their owner sees them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
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
        byte_size: Length of the content, in bytes.
        media_type: What the content is, by its bytes.
        index_error: Why the content could not be indexed, for its owner to read.
    """

    id: UUID
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
class StagedBlob:
    """Bytes that were received and are durable, and that no document holds yet."""

    path: Path
    digest: bytes
    byte_size: int
