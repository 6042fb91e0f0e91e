"""Opens a tenant's keys, sealed values and contents, and compares what is in them with what is said of them."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Any, Final, TypeAlias
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
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import commit, derive_salt
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.operations.examination.findings import Fault, Findings
from undercroft.operations.examination.repository import ExaminationRepository
from undercroft.vault.blobs.models import blob_context
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.errors import BlobMissingError
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey, WrappedDataKey, WrappedTenantKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.sealing import open_version

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
        self._keys = keys
        self._tenant_id = tenant_id
        self._findings = findings
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
        await self._open_definitions(transaction)
        await self._open_records(transaction)
        count = await self._read_blobs(transaction)
        await self._check_commitments(transaction)
        return count

    async def _open_tenant_keys(self, transaction: Transaction) -> None:
        for row in await self._repository.list_tenant_keys(transaction):
            if row["wrapped_key"] is None:
                continue
            key = WrappedTenantKey(row["id"], row["tenant_id"], row["wrapped_key"])
            try:
                await self._keys.open_tenant_key(key)
            except UndercroftError as error:
                self._tell(Fault.KEY_UNUSABLE, f"tenant key {row['id'].hex}", error.message)

    async def _open_data_keys(self, transaction: Transaction) -> None:
        last = _FIRST
        while page := await self._repository.list_data_keys(transaction, last, _PAGE):
            for row in page:
                subject = f"data key {row['key_id'].hex}"
                await self._open(row, Fault.KEY_UNUSABLE, subject)
                if not row["is_used"]:
                    self._tell(Fault.KEY_ORPHANED, subject, "belongs to nothing")
            last = page[-1]["key_id"]

    async def _open_sealed(
        self, transaction: Transaction, read: ReadPage, table: str, column: str
    ) -> None:
        last = _FIRST
        while page := await read(transaction, last, _PAGE):
            for row in page:
                subject = f"{column} of {table} {row['id'].hex}"
                key = await self._open(row)
                if key is not None:
                    place = bind(self._tenant_id, table, row["id"], column)
                    self._unseal(key, row["sealed"], place, subject)
            last = page[-1]["id"]

    async def _open_definitions(self, transaction: Transaction) -> None:
        last = (_FIRST, 0)
        while page := await self._repository.list_sealed_definitions(transaction, last, _PAGE):
            for row in page:
                key = await self._open(row)
                last = (row["schema_id"], row["number"])
                if key is not None:
                    place = bind(
                        self._tenant_id, "schema_versions", last[0], "sealed_definition", last[1]
                    )
                    subject = f"version {last[1]} of schema {last[0].hex}"
                    self._unseal(key, row["sealed"], place, subject)

    async def _open_records(self, transaction: Transaction) -> None:
        last = (_FIRST, 0)
        while page := await self._repository.list_record_parts(transaction, last, _PAGE):
            for (record_id, version), parts in groupby(page, _version_of):
                last = (record_id, version)
                await self._open_record(record_id, version, list(parts))

    async def _open_record(self, record_id: UUID, version: int, rows: list[Record]) -> None:
        keys = [await self._open(row) for row in rows if row["key_id"] is not None]
        if keys and None in keys:
            # Told of the key, or destroyed.
            return
        parts = [
            (key, row["sealed"]) for key, row in zip(keys, rows, strict=False) if key is not None
        ]
        subject = f"version {version} of record {record_id.hex}"
        if not parts:
            self._tell(Fault.VALUE_UNREADABLE, subject, "has lost its parts")
            return
        try:
            open_version((self._tenant_id, record_id, version), parts)
        except (DecryptionError, ValueError, LookupError):
            self._tell(Fault.VALUE_UNREADABLE, subject, "does not open, or not whole")

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
            self._tell(Fault.CONTENT_ORPHANED, subject, "is in no version of a document")
        if row["wrapped_tenant_key"] is None:
            # Its tenant was destroyed, and its file with it.
            return
        key = await self._open(row)
        sha256: bytes | None = None
        if key is not None:
            place = bind(self._tenant_id, "blobs", blob_id, "sha256")
            sha256 = self._unseal(key, row["sealed_sha256"], place, f"SHA-256 of {subject}")
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
        self._tell(fault, subject, message[fault])

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
                key = await self._open(row)
                if key is not None:
                    self._check_commitment(row, key)
            last = (page[-1]["document_id"], page[-1]["number"])

    def _check_commitment(self, row: Record, key: DataKey) -> None:
        place = bind(self._tenant_id, "blobs", row["blob_id"], "sha256")
        try:
            sha256 = unseal(key.material, row["sealed_sha256"], place)
            fields: dict[str, Any] = json.loads(row["leaf"])
        except (DecryptionError, ValueError):
            # Told of the content, or of the entry.
            return
        salt = derive_salt(row["document_salt"], row["entry_id"], "content")
        if not hmac.compare_digest(commit(salt, sha256), str(fields.get("content"))):
            self._tell(
                Fault.COMMITMENT_MISMATCH,
                f"version {row['number']} of document {row['document_id'].hex}",
                f"is not the content that {render_id(ENTRY_PREFIX, row['entry_id'])} commits to",
            )

    async def _open(
        self, row: Record, fault: Fault | None = None, subject: str = ""
    ) -> DataKey | None:
        """The open key of a row; None where it does not open, which is told of the key itself alone."""
        wrapped = WrappedDataKey(
            row["key_id"],
            row["wrapped_key"],
            row["salt"],
            WrappedTenantKey(row["tenant_key_id"], row["key_tenant_id"], row["wrapped_tenant_key"]),
        )
        try:
            return await self._keys.unwrap(wrapped)
        except KeyDestroyedError:
            return None
        except UndercroftError as error:
            if fault is not None:
                self._tell(fault, subject, error.message)
            return None

    def _unseal(self, key: DataKey, sealed: bytes, place: bytes, subject: str) -> bytes | None:
        try:
            return unseal(key.material, sealed, place)
        except DecryptionError as error:
            self._tell(Fault.VALUE_UNREADABLE, subject, error.message)
            return None

    def _tell(self, fault: Fault, subject: str, message: str) -> None:
        self._findings.add(fault, self._tenant_id, subject, message)


def _version_of(row: Record) -> tuple[UUID, int]:
    return row["record_id"], row["version"]


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
