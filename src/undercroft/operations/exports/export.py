"""Exports all that a tenant keeps, decrypted, as plain files with proofs.

The order is what makes it prove itself: the export is put on record first; what entries commit to is written and proved
next; the log last, so that it begins with the tree of every proof.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.aead import bind, unseal
from undercroft.kit.database import Database, Transaction, set_scope
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import render_time, user_reference
from undercroft.ledger.models import ENTRY_PREFIX, Act, LogScope, OperatorScope
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.operations.archives import Written
from undercroft.operations.errors import naming
from undercroft.operations.exports.audit import open_entries
from undercroft.operations.exports.bundle import Bundle, Lines, open_bundle, open_lines, safe_name
from undercroft.operations.exports.claims import claim_of
from undercroft.operations.exports.conversations import ConversationLines
from undercroft.operations.exports.log_files import CHECKPOINT, LogFiles
from undercroft.operations.exports.records import RecordFiles
from undercroft.operations.exports.repository import ExportRepository
from undercroft.operations.progress import Progress
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.vault.access import document_name_place, open_metadata
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.comments.models import COMMENT_PREFIX
from undercroft.vault.comments.service import comment_place
from undercroft.vault.errors import BlobMissingError
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.vault.service import open_content

_FIRST: Final = UUID(int=0)
_PAGE: Final = 500
_ENTRIES: Final = 1024

ReadPage: TypeAlias = Callable[[Transaction, UUID, int], Awaitable[list[Record]]]
Render: TypeAlias = Callable[[Record], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was exported.

    Attributes:
        versions: Of documents, records and schemas.
        proved: How many of them are tied to an entry that commits to them.
        verifier_keys: What the export is verified with.
    """

    versions: int
    proved: int
    entries: int
    verifier_keys: tuple[str, ...]


class Export:
    """Exports tenants.

    Args:
        database: At least two connections: one holds a snapshot. No statement of it may be cut short.
        store: Where the blobs are.
        keys: Opens what they are encrypted with.
        ledger: Where an export is put on record.
        sequencer: Numbers that entry.
        reader: Proves entries.
        clock: Dates the export.
        progress: Told what is done.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        keys: KeyRing,
        ledger: Ledger,
        sequencer: Sequencer,
        reader: LedgerReader,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._database = database
        self._store = store
        self._keys = keys
        self._ledger = ledger
        self._sequencer = sequencer
        self._reader = reader
        self._clock = clock
        self._progress = progress
        self._repository = ExportRepository()

    async def write(self, tenant_id: UUID, name: str, target: Path) -> ExportSummary:
        """Export a tenant: a tar file if the path ends in ``.tar``, else a folder.

        Args:
            tenant_id: The tenant.
            name: Its name.
            target: Where to write.

        Raises:
            OperationError: When there is something at the path already.
            UndercroftError: When something kept does not open.
            OSError: When it cannot be written.
        """
        scope = LogScope(tenant_id)
        with open_bundle(target) as bundle:
            await self._record(tenant_id)
            async with self._database.snapshot() as snapshot:
                await set_scope(snapshot, scope)
                versions, proved = await self._write_documents(bundle, snapshot, scope, target)
                files = RecordFiles(self._keys, bundle, target.parent, scope.tenant_id)
                records = await files.write(snapshot)
                await self._write_rows(bundle, snapshot, scope)
            description = await self._reader.describe(scope)
            entries = await self._write_log(bundle, scope)
            about = {
                "id": tenant_id.hex,
                "name": name,
                "log": description.id.hex,
                "origin": description.origin,
                "verifier_keys": list(description.verifier_keys),
            }
            await bundle.write("tenant.json", json.dumps(about, indent=1).encode() + b"\n")
            await bundle.finish(render_time(self._clock.now()))
        return ExportSummary(
            versions + records.versions,
            proved + records.proved,
            entries,
            description.verifier_keys,
        )

    async def _record(self, tenant_id: UUID) -> None:
        """Put the export on record before anything is read: it may be interrupted with much of it written."""
        operator = OperatorScope(tenant_id)
        async with self._database.transaction(operator) as transaction:
            tenant = await self._ledger.tenant(transaction, tenant_id)
            await self._ledger.append(transaction, operator, Act("tenant.export", tenant, None))
        while await self._sequencer.sequence(tenant_id):
            pass

    async def _write_documents(
        self, bundle: Bundle, snapshot: Transaction, scope: LogScope, target: Path
    ) -> tuple[int, int]:
        proved, last = 0, (_FIRST, 0)
        with open_lines(target.parent) as lines:
            while page := await self._repository.list_versions(snapshot, last, _PAGE):
                for row in page:
                    with naming(f"Version {row['number']} of document {row['document_id'].hex}"):
                        proved += await self._write_version(bundle, scope, row, lines)
                last = (page[-1]["document_id"], page[-1]["number"])
                self._progress(f"{lines.count} versions of documents")
            await bundle.write_pieces("documents.jsonl", lines.pieces())
            return lines.count, proved

    async def _write_version(
        self, bundle: Bundle, scope: LogScope, row: Record, lines: Lines
    ) -> bool:
        """One version's bytes and what is known of it; whether an entry proves it."""
        document_id: UUID = row["document_id"]
        document_key = await self._keys.open(row, "document_")
        name_place = document_name_place(scope.tenant_id, document_id)
        name = unseal(document_key.material, row["sealed_name"], name_place).decode()
        reference = render_id(DOCUMENT_PREFIX, document_id)
        path = f"documents/{reference}/{row['number']}/{safe_name(name)}"
        written = await self._write_content(bundle, scope, row, path)
        if written is None:
            return False
        claim = claim_of(row, row["document_salt"])
        if claim:
            await self._prove(bundle, scope, row)
        bundle.list_file(written, **claim)
        lines.add(
            {
                "id": reference,
                "version": row["number"],
                "name": name,
                "path": path,
                "owner": user_reference(row["owner_id"]),
                "purpose": row["purpose"],
                "metadata": open_metadata(
                    document_key, scope.tenant_id, document_id, row["sealed_metadata"]
                ),
                "sealed": row["is_sealed"],
                "deleted_at": None if row["deleted_at"] is None else render_time(row["deleted_at"]),
                "media_type": row["media_type"],
                "size": written.size,
                "sha256": written.sha256,
                "created_at": render_time(row["created_at"]),
            }
        )
        return bool(claim)

    async def _write_content(
        self, bundle: Bundle, scope: LogScope, row: Record, path: str
    ) -> Written | None:
        """None when it was erased since the snapshot."""
        file = bundle.begin(path)
        try:
            content = await open_content(self._store, self._keys, row)
            async for block in content.blocks():
                await asyncio.to_thread(file.write, block)
        except BlobMissingError:
            await asyncio.to_thread(bundle.discard, file)
            async with self._database.transaction(scope) as transaction:
                if await self._repository.blob_exists(transaction, row["id"]):
                    raise
            return None
        return await asyncio.to_thread(bundle.end, file)

    async def _prove(self, bundle: Bundle, scope: LogScope, row: Record) -> None:
        proof = await self._reader.prove_entry(scope, row["entry_id"], None)
        reference = render_id(ENTRY_PREFIX, row["entry_id"])
        await bundle.write(f"entries/{reference}.json", row["leaf"])
        await bundle.write(f"proofs/{reference}.tlog-proof", proof.encode())

    async def _write_rows(self, bundle: Bundle, snapshot: Transaction, scope: LogScope) -> None:
        repository = self._repository
        await bundle.write_lines(
            "users.jsonl", _pages(snapshot, repository.list_users, _render_user)
        )
        await bundle.write_lines(
            "comments.jsonl",
            _pages(snapshot, repository.list_comments, self._render_comment(scope)),
        )
        await bundle.write_lines(
            "collections.jsonl",
            _pages(snapshot, repository.list_collections, self._render_collection(scope)),
        )
        await bundle.write_lines("collection_members.jsonl", self._members(snapshot))
        count = await bundle.write_lines(
            "responses.jsonl",
            _pages(snapshot, repository.list_responses, self._render_response(scope)),
        )
        self._progress(f"{count} kept answers")
        count = await ConversationLines(self._keys, scope.tenant_id).write(bundle, snapshot)
        self._progress(f"{count} conversations")

    def _render_comment(self, scope: LogScope) -> Render:
        async def render(row: Record) -> Mapping[str, Any]:
            key = await self._keys.open(row)
            place = comment_place(scope.tenant_id, row["id"])
            return {
                "id": render_id(COMMENT_PREFIX, row["id"]),
                "document": render_id(DOCUMENT_PREFIX, row["document_id"]),
                "version": row["document_version"],
                "author": user_reference(row["author_id"]),
                "text": unseal(key.material, row["sealed_text"], place).decode(),
                "created_at": render_time(row["created_at"]),
            }

        return render

    def _render_collection(self, scope: LogScope) -> Render:
        async def render(row: Record) -> Mapping[str, Any]:
            key = await self._keys.open(row)
            place = bind(scope.tenant_id, "collections", row["id"], "name")
            return {
                "id": render_id(COLLECTION_PREFIX, row["id"]),
                "owner": user_reference(row["owner_id"]),
                "name": unseal(key.material, row["sealed_name"], place).decode(),
                "metadata": row["metadata"],
                "created_at": render_time(row["created_at"]),
            }

        return render

    def _render_response(self, scope: LogScope) -> Render:
        async def render(row: Record) -> Mapping[str, Any]:
            key = await self._keys.open(row)
            place = bind(scope.tenant_id, "responses", row["id"], "resource")
            return {
                "id": render_id(RESPONSE_PREFIX, row["id"]),
                "owner": user_reference(row["owner_id"]),
                "status": row["status"],
                "created_at": render_time(row["created_at"]),
                "response": json.loads(unseal(key.material, row["sealed_resource"], place)),
            }

        return render

    async def _members(self, snapshot: Transaction) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        last = (_FIRST, _FIRST)
        while page := await self._repository.list_members(snapshot, last, _PAGE):
            yield [
                {
                    "collection": render_id(COLLECTION_PREFIX, row["collection_id"]),
                    "document": render_id(DOCUMENT_PREFIX, row["document_id"]),
                    "attributes": row["attributes"],
                    "added_at": render_time(row["added_at"]),
                }
                for row in page
            ]
            last = (page[-1]["collection_id"], page[-1]["document_id"])

    async def _write_log(self, bundle: Bundle, scope: LogScope) -> int:
        """The log as it is now, and the audit of its entries with what opens them."""
        files = LogFiles()
        async with self._database.snapshot() as snapshot:
            await set_scope(snapshot, scope)
            log = await self._repository.get_log(snapshot)
            await bundle.write(CHECKPOINT, log["checkpoint"].encode())
            at = 0
            while page := await self._repository.list_entries(snapshot, at, _ENTRIES):
                for path, data in files.add([row["leaf"] for row in page]):
                    await bundle.write(path, data)
                at += len(page)
            for path, data in files.finish():
                await bundle.write(path, data)
            await bundle.write_lines("audit.jsonl", open_entries(self._repository, snapshot))
        self._progress(f"{at} ledger entries")
        return at


async def _pages(
    snapshot: Transaction, read: ReadPage, render: Render
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    last = _FIRST
    while page := await read(snapshot, last, _PAGE):
        yield [await render(row) for row in page]
        last = page[-1]["id"]


async def _render_user(row: Record) -> Mapping[str, Any]:
    return {
        "id": user_reference(row["id"]),
        "email": row["email"],
        "role": row["role"],
        "created_at": render_time(row["created_at"]),
    }
