"""A tenant's schemas and records: a file for each version, whose bytes the ledger commits to, and lists of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind, unseal
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import render_time, user_reference
from undercroft.operations.errors import naming
from undercroft.operations.exports.bundle import Bundle, Lines, open_lines
from undercroft.operations.exports.claims import claim_of
from undercroft.operations.exports.repository import ExportRepository
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.models import RECORD_PREFIX
from undercroft.vault.records.sealing import RECORD_KEY, open_version, version_content
from undercroft.vault.schemas.models import SCHEMA_PREFIX

_PAGE: Final = 500
_FIRST: Final = (UUID(int=0), 0)


@dataclass(slots=True)
class WrittenVersions:
    """How many versions were written, and how many of them the ledger commits to."""

    versions: int = 0
    proved: int = 0


class RecordFiles:
    """Writes schemas and records into a bundle.

    Args:
        keys: Opens what they are encrypted with.
        bundle: Where they go.
        folder: Where lists are gathered meanwhile.
        tenant_id: Whose they are.
    """

    def __init__(self, keys: KeyRing, bundle: Bundle, folder: Path, tenant_id: UUID) -> None:
        self._keys = keys
        self._bundle = bundle
        self._folder = folder
        self._tenant_id = tenant_id
        self._repository = ExportRepository()
        self._written = WrittenVersions()

    async def write(self, snapshot: Transaction) -> WrittenVersions:
        """Every version of every schema and record."""
        with open_lines(self._folder) as lines:
            last = _FIRST
            while page := await self._repository.list_schema_versions(snapshot, last, _PAGE):
                for row in page:
                    with naming(f"Version {row['number']} of schema {row['id'].hex}"):
                        await self._write_schema(row, lines)
                last = (page[-1]["id"], page[-1]["number"])
            await self._bundle.write_pieces("schemas.jsonl", lines.pieces())
        with open_lines(self._folder) as lines:
            last = _FIRST
            while page := await self._repository.list_record_parts(snapshot, last, _PAGE):
                for (record_id, version), parts in groupby(page, _version_of):
                    with naming(f"Version {version} of record {record_id.hex}"):
                        await self._write_record(list(parts), lines)
                last = _version_of(page[-1])
            await self._bundle.write_pieces("records.jsonl", lines.pieces())
        return self._written

    async def _write_schema(self, row: Record, lines: Lines) -> None:
        key = await self._keys.open(row)
        schema_id, number = row["id"], row["number"]
        name_place = bind(self._tenant_id, "schemas", schema_id, "sealed_name")
        name = unseal(key.material, row["sealed_name"], name_place).decode()
        place = bind(self._tenant_id, "schema_versions", schema_id, "sealed_definition", number)
        reference = render_id(SCHEMA_PREFIX, schema_id)
        path = f"schemas/{reference}/{number}.json"
        definition = unseal(key.material, row["sealed_definition"], place)
        await self._write(path, definition, claim_of(row, key.salt))
        lines.add(
            {
                "id": reference,
                "version": number,
                "path": path,
                "owner": user_reference(row["owner_id"]),
                "name": name,
                "created_at": render_time(row["created_at"]),
            }
        )

    async def _write_record(self, rows: Sequence[Record], lines: Lines) -> None:
        first = rows[0]
        parts = [(await self._keys.open(row), row["sealed"]) for row in rows]
        data, keys = open_version((self._tenant_id, *_version_of(first)), parts)
        content = version_content(first["schema_id"], first["schema_version"], data)
        reference = render_id(RECORD_PREFIX, first["record_id"])
        path = f"records/{reference}/{first['version']}.json"
        await self._write(path, content, claim_of(first, keys[RECORD_KEY].salt))
        lines.add(
            {
                "id": reference,
                "version": first["version"],
                "path": path,
                "owner": user_reference(first["owner_id"]),
                "author": user_reference(first["author_id"]),
                "created_at": render_time(first["created_at"]),
            }
        )

    async def _write(self, path: str, content: bytes, claim: dict[str, str]) -> None:
        await self._bundle.write(path, content, **claim)
        self._written.versions += 1
        self._written.proved += bool(claim)


def _version_of(row: Record) -> tuple[UUID, int]:
    return row["record_id"], row["version"]
