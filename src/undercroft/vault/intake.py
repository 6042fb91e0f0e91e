"""Takes contents in: encrypted while they arrive, told by their bytes, kept once for each owner."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias
from uuid import UUID

import structlog

from undercroft.kit.crypto.aead import bind, seal
from undercroft.kit.database import Transaction
from undercroft.kit.errors import UnavailableError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.vault.blobs.models import StagedBlob, blob_context
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.staging import StagedWriter, Staging
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import NewBlob
from undercroft.vault.repository import DocumentRepository
from undercroft.vault.usage.service import UsageService

DetectMediaType: TypeAlias = Callable[[BinaryIO, str], str]
"""Tells what a file is by its bytes; its name only decides between kinds of text. Raises for what is not served."""

_log: Final = structlog.stdlib.get_logger(__name__)

_BLOCK: Final = 1024 * 1024
"""Bytes that are encrypted in a thread at once, so that the switch to it is worth its time."""


class Incoming:
    """A content that is on its way in. Whoever began it closes it, whatever became of it."""

    def __init__(self, blob_id: UUID, key: DataKey, context: bytes, writer: StagedWriter) -> None:
        self.blob_id = blob_id
        self.key = key
        self.context = context
        self._writer = writer
        self._waiting = bytearray()

    async def write(self, block: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: When they are more than the service takes.
        """
        self._waiting += block
        if len(self._waiting) >= _BLOCK:
            await self._flush()

    async def digest(self) -> bytes:
        """SHA-256 of what was written so far.

        Raises:
            TooLargeError: When it is more than the service takes.
        """
        await self._flush()
        return self._writer.digest()

    async def finish(self) -> StagedBlob:
        """All was written: make it durable.

        Raises:
            TooLargeError: When it is more than the service takes.
            EmptyFileError: When nothing was written.
        """
        await self._flush()
        return await asyncio.to_thread(self._writer.finish)

    async def close(self) -> None:
        """Forget it, unless it was kept. Also when the client left: a cancelled upload must not fill the disk."""
        self._waiting.clear()
        await asyncio.shield(asyncio.to_thread(self._writer.close))

    async def _flush(self) -> None:
        if self._waiting:
            block = bytes(self._waiting)
            self._waiting.clear()
            await asyncio.to_thread(self._writer.write, block)


@dataclass(frozen=True, slots=True)
class Received:
    """A content that is here, whole and encrypted, and that nothing names yet.

    Attributes:
        media_type: What it is, by its bytes.
    """

    blob_id: UUID
    key: DataKey
    staged: StagedBlob
    media_type: str


@dataclass(slots=True)
class Kept:
    """Bytes that are in the store.

    Attributes:
        byte_size: Length of the content.
        bringer_id: Who brought them.
        owner_id: In whose quota they count.
        is_named: Whether a row that may commit names them.
    """

    byte_size: int
    bringer_id: UUID
    owner_id: UUID
    is_named: bool = False


class Intake:
    """Takes contents in.

    Args:
        blobs: Where they are kept.
        staging: Where they are received.
        keys: Makes the key of each.
        usage: Counts their bytes.
        ids: Names them.
        detect_media_type: Tells what they are.
        max_bytes: The most bytes one may have.
    """

    def __init__(
        self,
        blobs: BlobStore,
        staging: Staging,
        keys: KeyRing,
        usage: UsageService,
        ids: IdSource,
        detect_media_type: DetectMediaType,
        max_bytes: int,
    ) -> None:
        self._blobs = blobs
        self._staging = staging
        self._keys = keys
        self._usage = usage
        self._ids = ids
        self._detect_media_type = detect_media_type
        self._max_bytes = max_bytes
        self._repository = DocumentRepository()

    def begin(self, scope: Scope) -> Incoming:
        """Where a content of the principal's is written to."""
        blob_id, key = self._ids.new(), self._keys.generate()
        context = blob_context(scope.tenant_id, blob_id)
        writer = self._staging.begin(self._max_bytes, key.material, context)
        return Incoming(blob_id, key, context, writer)

    async def read(self, scope: Scope, source: BinaryIO) -> Incoming:
        """All of a file, read in a thread from its current position.

        Raises:
            TooLargeError: When it is more than the service takes.
        """
        incoming = self.begin(scope)
        try:
            while block := await asyncio.to_thread(source.read, _BLOCK):
                await incoming.write(block)
        except BaseException:
            await incoming.close()
            raise
        return incoming

    async def receive(self, incoming: Incoming, filename: str) -> Received:
        """All of a content was written: make it durable, and find out what it is.

        Raises:
            TooLargeError: When it is over the limit.
            EmptyFileError: When it has no bytes.
            UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when it is of no type that can be read.
        """
        staged = await incoming.finish()
        media_type = await self._staging.inspect(
            staged,
            incoming.key.material,
            incoming.context,
            lambda file: self._detect_media_type(file, filename),
        )
        return Received(incoming.blob_id, incoming.key, staged, media_type)

    async def record(
        self,
        transaction: Transaction,
        scope: Scope,
        received: Received,
        owner_id: UUID | None = None,
    ) -> UUID:
        """The row of a content, locked: the owner's own from before, if they have it already.

        Args:
            transaction: Where it is inserted.
            scope: Who has brought it.
            received: The content.
            owner_id: Whose it becomes; None for the principal's own.
        """
        staged, blob_id, key = received.staged, received.blob_id, received.key
        digest = await self._keys.lookup_digest(transaction, scope, "content", staged.sha256)
        await self._keys.keep(transaction, scope, key)
        place = bind(scope.tenant_id, "blobs", blob_id, "sha256")
        kept_id = await self._repository.acquire_blob(
            transaction,
            NewBlob(
                id=blob_id,
                owner_id=owner_id or scope.principal_id,
                digest=digest,
                byte_size=staged.byte_size,
                media_type=received.media_type,
                data_key_id=key.id,
                sealed_sha256=seal(key.material, staged.sha256, place),
                stored_name=staged.name,
            ),
        )
        if kept_id != blob_id:
            await self._keys.destroy(transaction, [key.id])
        return kept_id

    @asynccontextmanager
    async def keep(self, scope: Scope, staged: StagedBlob) -> AsyncGenerator[Kept]:
        """Keep bytes for the transaction in this context; forget them if it does not name them by :meth:`settle`.

        Before the transaction, so that it holds no connection and no lock while they travel, and so that no row names a
        missing file. Of a crash in between, and of a commit whose outcome nobody has heard, the file is left: no row
        names it, and then the sweep deletes it, or one does.

        Raises:
            UnavailableError: When the store does not answer.
        """
        await self._blobs.keep(staged, scope.tenant_id)
        kept = Kept(staged.byte_size, scope.principal_id, scope.principal_id)
        try:
            yield kept
        finally:
            if not kept.is_named:
                # No row will name this file; it was encrypted under a key of its own, so none ever did.
                await asyncio.shield(self._discard(scope, staged.name))

    async def settle(
        self, transaction: Transaction, kept: Kept, received: Received, kept_id: UUID
    ) -> None:
        """The last statement of a transaction that has recorded a content: see :meth:`settle_row`.

        Raises:
            QuotaExceededError: When it does not fit.
        """
        if kept_id == received.blob_id:
            await self.settle_row(transaction, kept)

    async def settle_row(self, transaction: Transaction, kept: Kept) -> None:
        """The last statement of a transaction that has inserted a row of kept bytes: from here on they are named.

        Raises:
            QuotaExceededError: When they do not fit.
        """
        await self._usage.settle(
            transaction,
            kept.byte_size,
            kept.owner_id,
            is_own=kept.owner_id == kept.bringer_id,
        )
        kept.is_named = True

    async def _discard(self, scope: Scope, name: bytes) -> None:
        try:
            await self._blobs.delete(scope.tenant_id, name)
        except (UnavailableError, OSError) as error:
            # What it was kept for has succeeded, or failed for a reason of its own: the sweep will find it.
            _log.warning("blob_not_discarded", name=name.hex(), error=repr(error))
