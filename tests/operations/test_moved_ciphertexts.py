"""No ciphertext opens in another place than its own, not even beside the key that it was sealed with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.operations.conftest import Filled, insert_response
from tests.operations.sealed_values import insert_values
from tests.records import ANY, Cabinet, changed, open_cabinet
from tests.vault.uploads.bench import Bench, make_bench
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.sql import AnyConnection
from undercroft.operations.examination.findings import Fault

EXAMINED: Final = {
    "access_requests.sealed_content": "id",
    "blobs.sealed_sha256": "id",
    "blobs.stored_name": "id",
    "chunks.sealed_text": "blob_id",
    "collections.sealed_name": "id",
    "conversation_items.sealed_item": "conversation_id",
    "conversations.sealed_metadata": "id",
    "document_comments.sealed_text": "id",
    "documents.sealed_metadata": "id",
    "documents.sealed_name": "id",
    "idempotency_keys.sealed_answer": "id",
    "notice_versions.sealed_content": "notice_id",
    "outgoing_mail.sealed_message": "id",
    "record_migrations.sealed_patch": "id",
    "record_parts.sealed": "record_id",
    "response_events.sealed_events": "response_id",
    "response_passages.sealed_statement": "response_id",
    "response_streams.sealed_request": "response_id",
    "responses.sealed_resource": "id",
    "schema_versions.sealed_definition": "schema_id",
    "schemas.sealed_name": "id",
    "second_factors.sealed_secret": "user_id",
    "share_links.sealed_email": "id",
    "webhook_endpoints.sealed_target": "id",
}
"""What fsck opens in the place where it is, each with whose it is. A name of a file stands for what the file holds."""
OPENED_ALONE: Final = {
    "upload_parts.stored_name",
    "uploads.sealed_name",
}
"""What is needed for an hour at most: opened by what needs it."""
UNREADABLE: Final = {Fault.VALUE_UNREADABLE, Fault.FILE_ALTERED, Fault.INDEX_INCOMPLETE}


async def test_no_sealed_column_is_forgotten(owner: AnyConnection) -> None:
    columns = await owner.fetch(
        "SELECT c.relname || '.' || a.attname AS name"
        " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT a.attisdropped"
        " AND (a.attname LIKE 'sealed%' OR a.attname = 'stored_name')"
    )
    assert {row["name"] for row in columns} == (EXAMINED.keys() | OPENED_ALONE)


async def test_what_another_row_holds_does_not_open(
    filled: Filled, owner: AnyConnection, tmp_path: Path
) -> None:
    await fill_twice(filled, tmp_path)
    assert (await filled.house.fsck())[0] == []
    for name, identifier in EXAMINED.items():
        table, column = name.split(".")
        rows = await owner.fetch(f"SELECT * FROM {table} ORDER BY ctid")
        assert len(rows) > 1, name
        await rotate(owner, table, column, 1)
        found, _ = await filled.house.fsck()
        subjects = [finding.subject for finding in found if finding.fault in UNREADABLE]
        for row in rows:
            assert any(row[identifier].hex in subject for subject in subjects), name
        await rotate(owner, table, column, -1)
    assert (await filled.house.fsck())[0] == []


@pytest.mark.parametrize("name", ["upload_parts.stored_name", "uploads.sealed_name"])
async def test_what_another_upload_holds_does_not_open(
    filled: Filled, owner: AnyConnection, name: str
) -> None:
    bench = await open_bench(filled)
    first, ids = await bench.begin(filled.ann, [b"The ice has ", b"gone. Now "])
    await bench.begin(filled.ann, [b"The ice has ", b"come. Now "])
    table, column = name.split(".")
    await rotate(owner, table, column, 1)
    with pytest.raises(DecryptionError):
        await bench.uploads.complete(filled.ann, first.id, ids)


async def test_what_another_migration_holds_does_not_open(
    filled: Filled, owner: AnyConnection, tmp_path: Path
) -> None:
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    record = await cabinet.ann(filled.ann)
    schema = await cabinet.schemas.get(filled.ann, record.schema_id)
    await cabinet.schemas.add_version(filled.ann, schema.id, schema.definition)
    first, _ = [
        await cabinet.migrations.start(
            filled.ann, schema.id, None, [{"op": "replace", "path": "/city", "value": city}]
        )
        for city in ("Ulm", "Bonn")
    ]
    await rotate(owner, "record_migrations", "sealed_patch", 1)
    assert first.job_id is not None
    context = await cabinet.claim(filled.ann, first.job_id)
    with pytest.raises(DecryptionError):
        await cabinet.migrations.run(context)


async def fill_twice(filled: Filled, folder: Path) -> Cabinet:
    """At least two of everything that is sealed, and of its versions."""
    await filled.shelf.collections.create(filled.ann, "second", {})
    await insert_response(filled.shelf, filled.ann)
    cabinet = await open_cabinet(filled.house.database, folder)
    for number in range(1, 3):
        record = await cabinet.ann(filled.ann)
        await cabinet.records.update(filled.ann, record.id, ANY, changed(age=41))
        schema = await cabinet.schemas.get(filled.ann, record.schema_id)
        await cabinet.schemas.add_version(filled.ann, schema.id, schema.definition)
        await cabinet.migrations.start(
            filled.ann, schema.id, None, [{"op": "replace", "path": "/city", "value": "Ulm"}]
        )
        await insert_values(filled, number)
    await filled.house.sequence(filled.ann.tenant_id)
    return cabinet


async def open_bench(filled: Filled) -> Bench:
    house = filled.house
    return await make_bench(house.database, house.folder, provider=house.provider)


async def rotate(owner: AnyConnection, table: str, column: str, step: int) -> None:
    """Give each row of a table another's ciphertext, and the key that it was sealed with."""
    columns = [column, *await _key_columns(owner, table)]
    await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    key = await _primary_key(owner, table)
    rows = await owner.fetch(f"SELECT * FROM {table} ORDER BY {', '.join(key)}")
    values = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 1))
    place = " AND ".join(f"{name} = ${number}" for number, name in enumerate(key, len(columns) + 1))
    for row, other in zip(rows, [*rows[step:], *rows[:step]], strict=True):
        moved = [other[name] for name in columns]
        where = [row[name] for name in key]
        await owner.execute(f"UPDATE {table} SET {values} WHERE {place}", *moved, *where)


async def _key_columns(owner: AnyConnection, table: str) -> Sequence[str]:
    rows = await owner.fetch(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'data_key_id'",
        table,
    )
    return [row["attname"] for row in rows]


async def _primary_key(owner: AnyConnection, table: str) -> Sequence[str]:
    rows = await owner.fetch(
        "SELECT a.attname::text FROM pg_index AS i"
        " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indrelid = $1::regclass AND i.indisprimary ORDER BY a.attnum",
        table,
    )
    return [row["attname"] for row in rows]
