"""What a backup says of itself: its beginning, its manifest, and a seal that only the key provider can make."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast
from uuid import UUID

from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.operations.archives import Written
from undercroft.operations.errors import OperationError

VERSION: Final = 1
HEAD: Final = "backup.json"
MANIFEST: Final = "manifest.json"
SEAL: Final = "manifest.seal"
MAX_JSON: Final = 1 << 28
_SEAL_CONTEXT: Final = b"undercroft/backup/manifest/1"


@dataclass(frozen=True, slots=True)
class Head:
    """What has to be known before the rows are read.

    Attributes:
        created: When the state that it holds was, in RFC 3339.
        migrations: Checksum of each migration of the database, the first first.
        tables: Columns of each table, in the order in which rows are written.
    """

    created: str
    migrations: Sequence[str]
    tables: Mapping[str, Sequence[str]]

    def to_bytes(self) -> bytes:
        """As it is written."""
        return _dump({"v": VERSION, **asdict(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Head":
        """Read it.

        Raises:
            OperationError: When it is none, or of another version.
        """
        fields = _load(data, HEAD)
        try:
            return cls(str(fields["created"]), fields["migrations"], fields["tables"])
        except KeyError as error:
            raise OperationError(f"{HEAD} lacks {error}: this is no backup.") from None


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """Where a tenant's log was."""

    tenant: str
    log: str
    size: int
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class Erased:
    """A content that was erased while the backup ran: its bytes were gone when their turn came."""

    tenant: str
    blob: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is in a backup.

    Attributes:
        files: The beginning, and a file of rows for each table.
        blobs: How many files of blobs there are. Each is named by the SHA-256 of its bytes.
        blob_bytes: Their length together.
    """

    files: Sequence[Written]
    blobs: int
    blob_bytes: int
    erased: Sequence[Erased]
    ledgers: Sequence[LedgerHead]

    def to_bytes(self) -> bytes:
        """As it is written."""
        return _dump({"v": VERSION, **asdict(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Read it. Its seal was checked before: it is what a backup wrote.

        Raises:
            OperationError: When it is of another version.
        """
        fields = _load(data, MANIFEST)
        return cls(
            [Written(**line) for line in fields["files"]],
            fields["blobs"],
            fields["blob_bytes"],
            [Erased(**line) for line in fields["erased"]],
            [LedgerHead(**line) for line in fields["ledgers"]],
        )

    def erased_of(self, tenant_id: UUID) -> list[UUID]:
        """The tenant's contents that were erased meanwhile."""
        return [UUID(hex=line.blob) for line in self.erased if line.tenant == tenant_id.hex]


async def seal_manifest(provider: KeyProvider, manifest: bytes) -> bytes:
    """Seal a manifest with the key provider: whoever alters the backup cannot make the seal that fits.

    Raises:
        KeyUnavailableError: When the provider does not answer.
    """
    return await provider.wrap(hashlib.sha256(manifest).digest(), _SEAL_CONTEXT)


async def check_seal(provider: KeyProvider, manifest: bytes, seal: bytes) -> bool:
    """Whether a manifest is what was sealed.

    Raises:
        DecryptionError: When the seal was altered.
        KeyUnavailableError: When the provider does not answer, or lacks the key that sealed it.
    """
    return await provider.unwrap(seal, _SEAL_CONTEXT) == hashlib.sha256(manifest).digest()


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"


def _load(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        raise OperationError(f"{name} is no JSON: this is no backup, or a damaged one.") from None
    if not isinstance(value, dict):
        raise OperationError(f"{name} is no JSON object: this is no backup, or a damaged one.")
    fields = cast("dict[str, Any]", value)
    if fields.get("v") != VERSION:
        raise OperationError(
            f"{name} is of version {fields.get('v')!r}, this program reads {VERSION}. Use the Undercroft that wrote it."
        )
    return fields
