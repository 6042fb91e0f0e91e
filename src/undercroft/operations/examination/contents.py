"""Opens a tenant's keys, sealed values and contents, and compares what is in them with what is said of them."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, bind, unseal
from undercroft.kit.crypto.segments import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    SegmentDecryptor,
    ciphertext_length,
)
from undercroft.kit.database import Transaction
from undercroft.operations.examination.findings import Fault, Findings
from undercroft.operations.examination.opening import Opening
from undercroft.operations.examination.records import RecordExamination
from undercroft.operations.examination.repository import ExaminationRepository
from undercroft.operations.examination.values.examination import ValueExamination
from undercroft.vault.blobs.models import blob_context
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.errors import BlobMissingError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

_FIRST: Final = UUID(int=0)
_PAGE: Final = 500
_RUN: Final = 16
"""Segments that are read and decrypted at once: a MiB."""

ReadPage: TypeAlias = Callable[[Transaction, UUID, int], Awaitable[list[Record]]]
LookAgain: TypeAlias = Callable[[UUID, UUID], Awaitable[bool]]
"""Whether a tenant still has a content: it may have been erased since its row was read."""


class ContentExamination:
    """Examines what one tenant keeps.

    Args:
        store: Where its blobs are.
        keys: Opens its keys.
        tenant_id: Whose it is.
        findings: Where problems go.
        look_again: Asked before a file is called missing or altered.
    """

    def __init__(
        self,
        store: BlobStore,
        keys: KeyRing,
        tenant_id: UUID,
        findings: Findings,
        look_again: LookAgain,
    ) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._opening = Opening(keys, tenant_id, findings)
        self._look_again = look_again
        self._repository = ExaminationRepository()

    async def run(self, transaction: Transaction) -> int:
        """Open everything; how many contents there are.

        What was encrypted under a tenant's key that was destroyed is unreadable as it should be, and passed over.
        """
        await self._open_tenant_keys(transaction)
        await self._open_data_keys(transaction)
        repository = self._repository
        await self._open_sealed(transaction, repository.list_sealed_documents, "documents", "name")
        await self._open_sealed(
            transaction, repository.list_sealed_metadata, "documents", "metadata"
        )
        await self._open_sealed(
            transaction, repository.list_sealed_schemas, "schemas", "sealed_name"
        )
        await self._open_sealed(
            transaction, repository.list_sealed_collections, "collections", "name"
        )
        await self._open_sealed(
            transaction, repository.list_sealed_responses, "responses", "resource"
        )
        await self._open_sealed(transaction, repository.list_sealed_uploads, "uploads", "name")
        await self._open_sealed(
            transaction, repository.list_sealed_webhooks, "webhook_endpoints", "sealed_target"
        )
        await ValueExamination(self._opening).run(transaction)
        await RecordExamination(self._opening).run(transaction)
        count = await self._read_blobs(transaction)
        await self._check_commitments(transaction)
        return count

    async def _open_tenant_keys(self, transaction: Transaction) -> None:
        for row in await self._repository.list_tenant_keys(transaction):
            await self._opening.open_tenant_key(row)

    async def _open_data_keys(self, transaction: Transaction) -> None:
        last = _FIRST
        while page := await self._repository.list_data_keys(transaction, last, _PAGE):
            for row in page:
                subject = f"data key {row['key_id'].hex}"
                await self._opening.open(row, Fault.KEY_UNUSABLE, subject)
                if not row["is_used"]:
                    self._opening.tell(Fault.KEY_ORPHANED, subject, "belongs to nothing")
            last = page[-1]["key_id"]

    async def _open_sealed(
        self, transaction: Transaction, read: ReadPage, table: str, column: str
    ) -> None:
        last = _FIRST
        while page := await read(transaction, last, _PAGE):
            for row in page:
                subject = f"{column} of {table} {row['id'].hex}"
                key = await self._opening.open(row)
                if key is not None:
                    place = bind(self._tenant_id, table, row["id"], column)
                    self._opening.unseal(key, row["sealed"], place, subject)
            last = page[-1]["id"]

    async def _read_blobs(self, transaction: Transaction) -> int:
        last, count = _FIRST, 0
        while page := await self._repository.list_blobs(transaction, last, _PAGE):
            for row in page:
                await self._read_blob(row)
            count, last = count + len(page), page[-1]["id"]
        return count

    async def _read_blob(self, row: Record) -> None:
        blob_id: UUID = row["id"]
        subject = f"content {blob_id.hex}"
        if not row["is_used"]:
            self._opening.tell(Fault.CONTENT_ORPHANED, subject, "is in no version of a document")
        if row["wrapped_tenant_key"] is None:
            # Its tenant was destroyed, and its file with it.
            return
        key = await self._opening.open(row)
        sha256: bytes | None = None
        if key is not None:
            place = bind(self._tenant_id, "blobs", blob_id, "sha256")
            sha256 = self._opening.unseal(key, row["sealed_sha256"], place, f"SHA-256 of {subject}")
        found = await self._digest(row, key)
        fault = found if isinstance(found, Fault) else _compare(row, found, sha256)
        if fault is None or not await self._look_again(self._tenant_id, blob_id):
            return
        name = row["stored_name"].hex()
        message = {
            Fault.FILE_MISSING: f"has no file {name} in the blob store",
            Fault.FILE_ALTERED: f"has an altered file, {name}: another length or SHA-256 than was kept",
            Fault.VALUE_UNREADABLE: f"does not open with its key, and its file {name} is what was kept",
            Fault.CONTENT_ALTERED: "is not what its row says: the SHA-256 differs",
        }
        self._opening.tell(fault, subject, message[fault])

    async def _digest(self, row: Record, key: DataKey | None) -> "Fault | _Digests":
        """SHA-256 of a file and of what is in it, in one pass over it."""
        name, length = row["stored_name"], ciphertext_length(row["byte_size"])
        digests = _Digests()
        try:
            header = await self._store.read(self._tenant_id, name, 0, HEADER_BYTES)
            digests.take_header(header, length, key, blob_context(self._tenant_id, row["id"]))
            start, number = HEADER_BYTES, 0
            while start < length:
                end = min((number + _RUN) * SEGMENT_BYTES, length)
                piece = await self._store.read(self._tenant_id, name, start, end - start)
                await asyncio.to_thread(digests.take, number, piece)
                if len(piece) < end - start:
                    return Fault.FILE_ALTERED
                start, number = end, number + _RUN
            if await self._store.read(self._tenant_id, name, length, 1):
                return Fault.FILE_ALTERED
        except BlobMissingError:
            return Fault.FILE_MISSING
        return digests

    async def _check_commitments(self, transaction: Transaction) -> None:
        last = (_FIRST, 0)
        while page := await self._repository.list_commitments(transaction, last, _PAGE):
            for row in page:
                key = await self._opening.open(row)
                if key is not None:
                    self._check_commitment(row, key)
            last = (page[-1]["document_id"], page[-1]["number"])

    def _check_commitment(self, row: Record, key: DataKey) -> None:
        place = bind(self._tenant_id, "blobs", row["blob_id"], "sha256")
        try:
            sha256 = unseal(key.material, row["sealed_sha256"], place)
        except DecryptionError:
            # Told of the content.
            return
        subject = f"version {row['number']} of document {row['document_id'].hex}"
        self._opening.check_digest(row, row["document_salt"], sha256, subject)


class _Digests:
    """SHA-256 of a ciphertext and of its plaintext."""

    def __init__(self) -> None:
        self._cipher = hashlib.sha256()
        self._plain = hashlib.sha256()
        self._decryptor: SegmentDecryptor | None = None
        self.opens = False

    def take_header(self, header: bytes, length: int, key: DataKey | None, context: bytes) -> None:
        self._cipher.update(header)
        if key is None:
            return
        try:
            self._decryptor = SegmentDecryptor(header, length, key.material, context)
            self.opens = True
        except DecryptionError:
            self.opens = False

    def take(self, number: int, piece: bytes) -> None:
        self._cipher.update(piece)
        if self._decryptor is None or not self.opens:
            return
        try:
            self._plain.update(self._decryptor.decrypt(number, _RUN, piece))
        except DecryptionError:
            self.opens = False

    @property
    def cipher(self) -> bytes:
        return self._cipher.digest()

    @property
    def plain(self) -> bytes | None:
        return self._plain.digest() if self.opens else None


def _compare(row: Record, digests: _Digests, sha256: bytes | None) -> Fault | None:
    if digests.cipher != row["stored_name"]:
        return Fault.FILE_ALTERED
    if sha256 is None:
        return None
    if digests.plain is None:
        return Fault.VALUE_UNREADABLE
    return None if digests.plain == sha256 else Fault.CONTENT_ALTERED
