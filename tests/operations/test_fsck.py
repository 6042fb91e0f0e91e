"""Each kind of damage is named, and nothing else is."""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from asyncpg import Record

from tests.operations.conftest import TEXTS, Filled
from tests.records import ANN, ANY, PERSON, changed, open_cabinet
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.aead import bind, seal
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.providers.protocol import KeyUnavailableError
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.ledger.service import Ledger
from undercroft.operations.examination.findings import Fault
from undercroft.operations.examination.repository import ExaminationRepository
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.keys.destruction import TenantDestruction
from undercroft.vault.records.sealing import seal_version
from undercroft.vault.schemas.pointers import read_fields, without_fields

SQL_DAMAGE: Sequence[tuple[str, set[Fault]]] = [
    ("UPDATE tenant_keys SET wrapped_key = wrapped_key || '\\x00'", {Fault.KEY_UNUSABLE}),
    (
        (
            "UPDATE data_keys SET wrapped_key = set_byte(wrapped_key, 20, get_byte(wrapped_key, 20) # 1)"
            " WHERE id = (SELECT data_key_id FROM collections)"
        ),
        {Fault.KEY_UNUSABLE},
    ),
    # Swapped: each is good, in another place.
    (
        (
            "UPDATE data_keys AS k SET wrapped_key = o.wrapped_key FROM data_keys AS o"
            " WHERE k.id = (SELECT data_key_id FROM collections) AND o.id = (SELECT data_key_id FROM responses)"
        ),
        {Fault.KEY_UNUSABLE},
    ),
    (
        (
            "INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)"
            " SELECT gen_random_uuid(), tenant_id, tenant_key_id, wrapped_key, salt FROM data_keys LIMIT 1"
        ),
        {Fault.KEY_UNUSABLE, Fault.KEY_ORPHANED},
    ),
    ("UPDATE documents SET sealed_name = sealed_name || '\\x00'", {Fault.VALUE_UNREADABLE}),
    ("UPDATE collections SET sealed_name = ''", {Fault.VALUE_UNREADABLE}),
    ("UPDATE responses SET sealed_resource = ''", {Fault.VALUE_UNREADABLE}),
    ("UPDATE blobs SET sealed_sha256 = sealed_sha256 || '\\x00'", {Fault.VALUE_UNREADABLE}),
    (
        "UPDATE blobs SET byte_size = byte_size + 1 WHERE id = (SELECT min(id::text)::uuid FROM blobs)",
        {Fault.FILE_ALTERED},
    ),
    (
        "DELETE FROM document_versions WHERE number = 1",
        {Fault.CONTENT_ORPHANED, Fault.INDEX_ORPHANED},
    ),
    (
        "UPDATE chunks SET sealed_text = sealed_text || '\\x00' WHERE id = (SELECT min(id) FROM chunks)",
        {Fault.INDEX_INCOMPLETE},
    ),
    (
        "DELETE FROM chunks WHERE id = (SELECT min(id) FROM chunks)",
        {Fault.INDEX_INCOMPLETE},
    ),
    (
        "DELETE FROM chunk_embeddings WHERE chunk_id = (SELECT min(id) FROM chunks)",
        {Fault.INDEX_INCOMPLETE},
    ),
    (
        "UPDATE blobs SET index_state = 'unindexed' WHERE id = (SELECT min(id::text)::uuid FROM blobs)",
        {Fault.INDEX_ORPHANED},
    ),
    ("UPDATE term_statistics SET chunk_count = chunk_count + 1", {Fault.STATISTICS_WRONG}),
    ("DELETE FROM term_statistics", {Fault.STATISTICS_WRONG}),
    ("UPDATE corpus_statistics SET term_total = term_total - 1", {Fault.STATISTICS_WRONG}),
    ("UPDATE corpus_statistics SET languages = '{german}'", {Fault.STATISTICS_WRONG}),
    (
        (
            "UPDATE ledger_entries SET leaf = replace(convert_from(leaf, 'UTF8'), 'allowed', 'denied')::bytea"
            " WHERE position = 1"
        ),
        {Fault.LEDGER_ENTRY_ALTERED},
    ),
    (
        "UPDATE ledger_entries SET action = 'document.keep' WHERE position = 1",
        {Fault.LEDGER_ENTRY_ALTERED},
    ),
    (
        "UPDATE ledger_entries SET actor_id = gen_random_uuid() WHERE position = 1",
        set(),  # who is no user opens no commitment: the bytes in the tree stand
    ),
    ("DELETE FROM ledger_entries WHERE position = 1", {Fault.LEDGER_GAP}),
    (
        "DELETE FROM ledger_entries WHERE position = (SELECT max(position) FROM ledger_entries)",
        {Fault.LEDGER_GAP},
    ),
    (
        (
            "INSERT INTO ledger_tiles (tenant_id, level, position, hash)"
            " SELECT id, 1, 0, decode(repeat('00', 32), 'hex') FROM tenants"
        ),
        {Fault.LEDGER_TILE_WRONG},
    ),
    (
        "UPDATE ledger_logs SET checkpoint = replace(checkpoint, 'undercroft', 'undercraft')",
        {Fault.LEDGER_HEAD_WRONG},
    ),
    (
        "UPDATE ledger_keys SET public_key = decode(repeat('11', 32), 'hex')",
        {Fault.LEDGER_HEAD_WRONG, Fault.KEY_UNUSABLE},
    ),
    ("UPDATE ledger_keys SET wrapped_private_key = '\\x00'", {Fault.KEY_UNUSABLE}),
]


async def test_a_house_in_order_has_no_findings(filled: Filled) -> None:
    found, examination = await filled.house.fsck()
    assert found == []
    assert (examination.tenants, examination.contents, examination.files) == (1, 3, 3)
    assert examination.entries > 0


@pytest.mark.parametrize(("sql", "expected"), SQL_DAMAGE, ids=range(len(SQL_DAMAGE)))
async def test_each_damage_in_the_database_is_named(
    filled: Filled, owner: AnyConnection, sql: str, expected: set[Fault]
) -> None:
    await owner.execute(sql)
    found, _ = await filled.house.fsck()
    assert {finding.fault for finding in found} == expected, found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(1))


def empty_out(path: Path) -> None:
    path.write_bytes(b"")


def replace(path: Path) -> None:
    path.write_bytes(bytes([40]) + bytes(200))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (Path.unlink, Fault.FILE_MISSING),
        (cut, Fault.FILE_ALTERED),
        (lengthen, Fault.FILE_ALTERED),
        (empty_out, Fault.FILE_ALTERED),
        (replace, Fault.FILE_ALTERED),
    ],
)
async def test_each_damage_of_a_file_is_named(
    filled: Filled, damage: Callable[[Path], None], fault: Fault
) -> None:
    damage(blob_files(filled)[0])
    found, _ = await filled.house.fsck()
    assert [finding.fault for finding in found] == [fault]


async def test_keys_that_cannot_be_asked_for_now_are_no_findings(
    filled: Filled, tmp_path: Path
) -> None:
    """A repair would act on them."""
    silent = KeyFile.closed(tmp_path / "not there")
    house = dataclasses.replace(filled.house, provider=silent)
    with pytest.raises(KeyUnavailableError, match="cannot be used now"):
        await house.fsck()


async def test_a_content_of_many_segments_is_read_whole(filled: Filled) -> None:
    await filled.shelf.put(filled.ann, "long.txt", "The ferry left at nine. " * 30_000)
    assert (await filled.house.fsck())[0] == []
    longest = max(blob_files(filled), key=lambda path: path.stat().st_size)
    whole = bytearray(longest.read_bytes())
    assert len(whole) > 8 * 65_536
    whole[5 * 65_536] ^= 1
    longest.write_bytes(whole)
    (finding,), _ = await filled.house.fsck()
    assert finding.fault is Fault.FILE_ALTERED


async def test_a_file_that_nobody_keeps_is_named_once_it_is_old(filled: Filled) -> None:
    kept = blob_files(filled)[0]
    stray = kept.with_name(kept.name[:2] + "0" * 62)
    stray.write_bytes(b"left by a crash")
    assert (await filled.house.fsck())[0] == []
    made_at = stray.stat().st_mtime
    os.utime(stray, (made_at - 86_000, made_at - 86_000))
    assert (await filled.house.fsck())[0] == []
    os.utime(stray, (made_at - 86_500, made_at - 86_500))
    (finding,), examination = await filled.house.fsck()
    assert finding.fault is Fault.FILE_ORPHANED
    assert stray.name in finding.subject
    assert [orphan.name.hex() for orphan in examination.orphans] == [stray.name]


async def test_a_superseded_version_leaves_the_index_and_what_is_left_over_is_named(
    filled: Filled, owner: AnyConnection
) -> None:
    house, shelf, ann = filled.house, filled.shelf, filled.ann
    boat, mill = filled.documents["boat.txt"], filled.documents["mill.txt"]
    await shelf.put_version(ann, boat, "The boat lies at the ninth pier.")
    # Until its job has run nothing is wrong.
    assert (await house.fsck())[0] == []
    await shelf.run_jobs(ann)
    assert (await house.fsck())[0] == []
    (contents,) = await owner.fetch("SELECT count(DISTINCT blob_id) FROM chunks")
    assert contents[0] == len(TEXTS)
    await shelf.put_version(ann, mill, "The mill burned down.")
    indexing = await shelf.claim(ann)
    assert indexing is not None
    await shelf.handler(indexing).run(shelf.context(indexing))
    await owner.execute("DELETE FROM jobs")
    (finding,), _ = await house.fsck()
    assert (finding.fault, finding.message) == (
        Fault.INDEX_ORPHANED,
        "has passages and is in no current version of a document",
    )
    for table in ("chunks", "blobs", "jobs"):
        await owner.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    (told,) = await house.repair()
    assert told.endswith("had its passages deleted")
    await shelf.run_jobs(ann)
    assert (await house.fsck())[0] == []


async def test_two_files_that_were_swapped_are_named(filled: Filled) -> None:
    first, second, _ = blob_files(filled)
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(whole)
    found, _ = await filled.house.fsck()
    assert [finding.fault for finding in found] == [Fault.FILE_ALTERED] * 2


async def test_a_content_of_another_document_is_named(filled: Filled, owner: AnyConnection) -> None:
    """Everything opens and is well formed; the ledger alone knows that it was another content."""
    await owner.execute(
        "UPDATE document_versions AS v SET blob_id = o.blob_id FROM document_versions AS o"
        " WHERE v.document_id = $1 AND o.document_id = $2",
        filled.documents["mill.txt"],
        filled.documents["boat.txt"],
    )
    await owner.execute(
        "DELETE FROM blobs AS b WHERE NOT EXISTS"
        " (SELECT FROM document_versions AS v WHERE v.blob_id = b.id)"
    )
    found, _ = await filled.house.fsck()
    (finding,) = found
    assert finding.fault is Fault.COMMITMENT_MISMATCH
    assert filled.documents["mill.txt"].hex in finding.subject


async def test_a_tenant_that_is_destroyed_meanwhile_is_no_finding(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, store = filled.house.database, filled.house.store
    ledger = Ledger(database, IdSource(), SystemClock())
    list_blobs = ExaminationRepository.list_blobs

    async def list_and_destroy(self: ExaminationRepository, *page: Any) -> list[Record]:  # noqa: ANN401 - as it is
        listed = await list_blobs(self, *page)
        if listed:
            destruction = TenantDestruction(database, store, ledger)
            await destruction.destroy(filled.ann.tenant_id, lambda _, __: None)
        return listed

    monkeypatch.setattr(ExaminationRepository, "list_blobs", list_and_destroy)
    found, examination = await filled.house.fsck()
    assert (found, examination.contents) == ([], 3)


async def test_what_is_erased_meanwhile_is_no_finding(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ExaminationRepository.list_blobs
    left = [filled.documents["boat.txt"]]

    async def list_and_erase(self: ExaminationRepository, *page: Any) -> list[Record]:  # noqa: ANN401 - as it is
        rows = await listed(self, *page)
        while left:
            await filled.shelf.documents.delete(filled.ann, left.pop())
        return rows

    monkeypatch.setattr(ExaminationRepository, "list_blobs", list_and_erase)
    found, examination = await filled.house.fsck()
    assert found == []
    assert (examination.contents, examination.files) == (3, 2)


def unheard(done: int, total: int) -> None:
    assert done <= total


async def test_a_destroyed_tenant_is_no_finding(filled: Filled) -> None:
    destruction = TenantDestruction(
        filled.house.database,
        LocalBlobStore(filled.shelf.folder / "blobs"),
        Ledger(filled.house.database, IdSource(), SystemClock()),
    )
    await destruction.destroy(filled.ann.tenant_id, unheard)
    found, _ = await filled.house.fsck()
    assert found == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE record_parts SET sealed = sealed || '\\x00' WHERE number = 1",
        "DELETE FROM record_parts WHERE number = 1",
        "UPDATE schema_versions SET sealed_definition = ''",
    ],
)
async def test_each_damage_of_a_record_is_named(
    filled: Filled, owner: AnyConnection, tmp_path: Path, damage: str
) -> None:
    await (await open_cabinet(filled.house.database, tmp_path)).ann(filled.ann)
    assert (await filled.house.fsck())[0] == []
    await owner.execute(damage)
    found, _ = await filled.house.fsck()
    assert {finding.fault for finding in found} == {Fault.VALUE_UNREADABLE}


async def test_a_version_of_a_record_that_the_ledger_does_not_know_is_named(
    filled: Filled, owner: AnyConnection, tmp_path: Path
) -> None:
    """All opens, sealed anew by somebody who has the keys; the ledger alone knows that it said something else."""
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    record = await cabinet.ann(filled.ann)
    await cabinet.records.update(filled.ann, record.id, ANY, changed(age=41))
    await filled.house.sequence(filled.ann.tenant_id)
    assert (await filled.house.fsck())[0] == []
    forged = seal_version(
        (filled.ann.tenant_id, record.id, 2),
        {**without_fields(ANN, PERSON.sensitive_fields), "age": 14},
        read_fields(ANN, PERSON.sensitive_fields),
        record.keys,
    )
    for part in forged:
        await owner.execute(
            "UPDATE record_parts SET sealed = $3 WHERE record_id = $1 AND version = 2 AND number = $2",
            record.id,
            part.number,
            part.sealed,
        )
    (finding,), _ = await filled.house.fsck()
    assert finding.fault is Fault.COMMITMENT_MISMATCH
    assert finding.subject == f"version 2 of record {record.id.hex}"


@pytest.mark.parametrize("prefix", ["file-", "rec_", "schema_"])
async def test_a_version_that_no_entry_commits_to_is_named(
    filled: Filled, owner: AnyConnection, tmp_path: Path, prefix: str
) -> None:
    """Once its entry is gone. While it waits for its number, there is one."""
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    record = await cabinet.ann(filled.ann)
    subjects = {
        "file-": f"version 1 of document {filled.documents['lease.txt'].hex}",
        "rec_": f"version 1 of record {record.id.hex}",
        "schema_": f"version 1 of schema {record.schema_id.hex}",
    }
    assert (await filled.house.fsck())[0] == []
    await filled.house.sequence(filled.ann.tenant_id)
    _, _, identifier = subjects[prefix].rpartition(" ")
    await owner.execute(
        "DELETE FROM ledger_entries WHERE resource = $1 AND version = 1", f"{prefix}{identifier}"
    )
    found, _ = await filled.house.fsck()
    missing = [one.subject for one in found if one.fault is Fault.COMMITMENT_MISSING]
    assert missing == [subjects[prefix]]


async def test_a_record_under_another_schema_than_the_ledger_says_is_named(
    filled: Filled, owner: AnyConnection, tmp_path: Path
) -> None:
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    record = await cabinet.ann(filled.ann)
    await cabinet.schemas.add_version(filled.ann, record.schema_id, PERSON)
    await filled.house.sequence(filled.ann.tenant_id)
    await owner.execute("UPDATE record_versions SET schema_version = 2")
    (finding,), _ = await filled.house.fsck()
    assert finding.fault is Fault.COMMITMENT_MISMATCH
    assert finding.subject == f"version 1 of record {record.id.hex}"


async def test_a_version_of_a_schema_that_the_ledger_does_not_know_is_named(
    filled: Filled, owner: AnyConnection, tmp_path: Path
) -> None:
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    schema = await cabinet.person_schema(filled.ann)
    await filled.house.sequence(filled.ann.tenant_id)
    async with filled.house.database.transaction(filled.ann) as transaction:
        key = await cabinet.schemas.key(transaction, schema.id)
    forged = b'{"indexed_fields":[],"plain_fields":["/email"],"schema":{},"sensitive_fields":[]}'
    place = bind(filled.ann.tenant_id, "schema_versions", schema.id, "sealed_definition", 1)
    await owner.execute(
        "UPDATE schema_versions SET sealed_definition = $1", seal(key.material, forged, place)
    )
    (finding,), _ = await filled.house.fsck()
    assert finding.fault is Fault.COMMITMENT_MISMATCH
    assert finding.subject == f"version 1 of schema {schema.id.hex}"


async def test_a_migrated_record_is_what_the_ledger_says(filled: Filled, tmp_path: Path) -> None:
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    record = await cabinet.ann(filled.ann)
    await cabinet.schemas.add_version(filled.ann, record.schema_id, PERSON)
    rename = [{"op": "replace", "path": "/city", "value": "Bonn"}]
    migration = await cabinet.migrations.start(filled.ann, record.schema_id, None, rename)
    assert migration.job_id is not None
    await cabinet.migrations.run(await cabinet.claim(filled.ann, migration.job_id))
    await filled.house.sequence(filled.ann.tenant_id)
    assert (await filled.house.fsck())[0] == []
    async with filled.house.database.transaction(filled.ann) as transaction:
        leaf = await transaction.fetchval(
            "SELECT leaf FROM ledger_entries WHERE action = 'record.migrate'"
        )
    assert "content" in json.loads(leaf)


async def test_every_use_of_a_data_key_is_known(owner: AnyConnection) -> None:
    """A table with data keys that the examination does not know would have its keys called orphans."""
    tables = await owner.fetch(
        "SELECT conrelid::regclass::text AS name FROM pg_constraint"
        " WHERE contype = 'f' AND confrelid = 'data_keys'::regclass"
    )
    queries = load_queries("undercroft.operations.examination")
    known = queries["list_data_keys"].sql
    assert [row["name"] for row in tables if f"FROM {row['name']} AS" not in known] == []


async def test_every_sealed_column_is_opened(owner: AnyConnection) -> None:
    columns = await owner.fetch(
        "SELECT c.relname, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        " AND a.attname LIKE 'sealed%' AND a.atttypid = 'bytea'::regtype"
    )
    known = "\n".join(
        statement.sql
        for package in (
            "undercroft.operations.examination",
            "undercroft.operations.examination.values",
        )
        for statement in load_queries(package).values()
    )
    assert [
        f"{row['relname']}.{row['attname']}"
        for row in columns
        if not re.search(rf"\.{row['attname']}\b[^;]*?\bFROM\s+{row['relname']} AS", known)
        and f".{row['attname']}" not in known
    ] == []


def blob_files(filled: Filled) -> list[Path]:
    return sorted((filled.house.folder / "blobs").rglob("?" * 64))
