"""Uploads and their parts."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.kit.crypto.aead import bind
from undercroft.vault.blobs.models import StoredBlob
from undercroft.vault.models import Document

UPLOAD_PREFIX: Final = "upload_"
PART_PREFIX: Final = "part_"
MOST_PARTS: Final = 5000
LARGEST_PART: Final = 64 * 1024 * 1024
EXPIRE_JOB: Final = "uploads.expire"


class UploadState(StrEnum):
    """What has become of an upload."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that comes in parts, as its owner sees it.

    Attributes:
        salt: What the ledger's commitments to the upload are made with.
        byte_size: How long the whole file will be, in bytes.
        document: What it was made into, once it was completed.
    """

    id: UUID
    salt: bytes = field(repr=False)
    filename: str
    purpose: str
    byte_size: int
    state: UploadState
    document: Document | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewUpload:
    """The row of an upload that is being begun."""

    id: UUID
    purpose: str
    byte_size: int
    data_key_id: UUID
    sealed_name: bytes


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A part that was kept."""

    id: UUID
    upload_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewPart:
    """The row of a part that was received.

    Attributes:
        stored_name: SHA-256 of the ciphertext.
    """

    id: UUID
    upload_id: UUID
    byte_size: int
    data_key_id: UUID
    stored_name: bytes


class StoredPart(StoredBlob):
    """Where a part is, and what its ciphertext is bound to."""

    __slots__ = ()

    @property
    def context(self) -> bytes:
        """What its stream is bound to."""
        return part_context(self.tenant_id, self.blob_id)


def upload_name_place(tenant_id: UUID, upload_id: UUID) -> bytes:
    """What an upload's file name is bound to."""
    return bind(tenant_id, "uploads", upload_id, "name")


def part_context(tenant_id: UUID, part_id: UUID) -> bytes:
    """What a part's stream is bound to."""
    return bind(tenant_id, "upload_parts", part_id, "content")
