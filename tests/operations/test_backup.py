"""What is backed up comes back, is proved, and nothing that was altered is taken."""

import asyncio
import shutil
import tarfile
from pathlib import Path
from uuid import UUID

import pytest

from tests.operations.conftest import TEXTS, Filled, House
from tests.records import PERSON, open_cabinet
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.service import Ledger
from undercroft.operations.backups.reading import read_contents
from undercroft.operations.backups.tables import LEFT_OUT, list_tables
from undercroft.operations.errors import OperationError
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.keys.destruction import TenantDestruction


@pytest.mark.parametrize("name", ["backup.tar", "backup"])
async def test_what_is_backed_up_comes_back(
    filled: Filled, empty: House, tmp_path: Path, name: str
) -> None:
    made = await filled.house.back_up(tmp_path / name)
    assert (made.tenants, made.blobs, made.erased) == (1, len(TEXTS), 0)
    restored = await empty.restore(tmp_path / name)
    assert (restored.tenants, restored.blobs, restored.queued) == (1, 3, 3)
    assert restored.entries >= 3
    found, examination = await empty.fsck()
    assert found == []
    assert examination.contents == 3
    assert await count(empty, filled, "ledger_pending") == 3
    assert await count(empty, filled, "responses") == 1


async def test_every_row_is_the_same(filled: Filled, empty: House, tmp_path: Path) -> None:
    await filled.house.back_up(tmp_path / "backup.tar")
    await empty.restore(tmp_path / "backup.tar")
    async with filled.house.database.snapshot() as transaction:
        tables = await list_tables(transaction)
    # Other states on purpose: of the index, and of what waits for its number.
    for table in {table.name for table in tables} - {"blobs", "ledger_pending"}:
        rows = [await dump(house, filled, table) for house in (filled.house, empty)]
        assert rows[0] == rows[1], table
    assert {"tenants", "users", "api_keys", "ledger_entries", "ledger_tiles", "data_keys"} <= {
        table.name for table in tables
    }


async def test_records_come_back(filled: Filled, empty: House, tmp_path: Path) -> None:
    kept = await (await open_cabinet(filled.house.database, tmp_path)).ann(filled.ann)
    await filled.house.back_up(tmp_path / "backup.tar")
    await empty.restore(tmp_path / "backup.tar")
    restored = await (await open_cabinet(empty.database, tmp_path)).records.get(filled.ann, kept.id)
    assert (restored.data, restored.version) == (kept.data, kept.version)
    assert (await empty.fsck())[0] == []


async def test_a_record_that_the_ledger_does_not_know_is_refused(
    filled: Filled, empty: House, tmp_path: Path, owner: AnyConnection
) -> None:
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    record = await cabinet.ann(filled.ann)
    await cabinet.schemas.add_version(filled.ann, record.schema_id, PERSON)
    await filled.house.sequence(filled.ann.tenant_id)
    await owner.execute("UPDATE record_versions SET schema_version = 2")
    await filled.house.back_up(tmp_path / "backup.tar")
    with pytest.raises(OperationError, match=f"version 1 of record {record.id.hex}"):
        await empty.restore(tmp_path / "backup.tar")
    assert await tenants(empty) == 0


async def test_entries_that_waited_are_numbered_in_their_order(
    filled: Filled, empty: House, tmp_path: Path
) -> None:
    waiting = await leaves(filled.house, filled, "ledger_pending ORDER BY xid, ordinal")
    assert len(waiting) == 3
    await filled.house.back_up(tmp_path / "backup.tar")
    await empty.restore(tmp_path / "backup.tar")
    await empty.sequence(filled.ann.tenant_id)
    numbered = await leaves(empty, filled, "ledger_entries ORDER BY position")
    assert numbered[-3:] == waiting
    found, _ = await empty.fsck()
    assert found == []


async def test_what_is_written_meanwhile_is_in_it_whole_or_not_at_all(
    filled: Filled, empty: House, tmp_path: Path
) -> None:
    async def write() -> None:
        for number in range(20):
            document = await filled.shelf.put(filled.ann, f"{number}.txt", f"Page {number}.")
            if number % 2:
                await filled.shelf.documents.delete(filled.ann, document)

    await asyncio.gather(write(), filled.house.back_up(tmp_path / "backup.tar"))
    await empty.restore(tmp_path / "backup.tar")
    found, _ = await empty.fsck()
    assert found == []


async def test_what_is_erased_meanwhile_is_left_out(
    filled: Filled, empty: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased = filled.documents["boat.txt"]
    read = filled.house.store.read

    class Erasing:
        """A store whose first read comes after an erasure."""

        def __init__(self, store: BlobStore) -> None:
            self.keep, self.delete, self.list_files = store.keep, store.delete, store.list_files
            self._done = False

        async def read(self, *place: object) -> bytes:
            if not self._done:
                self._done = True
                await filled.shelf.documents.delete(filled.ann, erased)
            return await read(*place)  # pyright: ignore[reportArgumentType] - the store's own

    erasing = Erasing(filled.house.store)
    monkeypatch.setattr(House, "store", erasing)
    made = await filled.house.back_up(tmp_path / "backup.tar")
    monkeypatch.undo()
    assert (made.blobs, made.erased) == (2, 1)
    restored = await empty.restore(tmp_path / "backup.tar")
    assert (restored.blobs, restored.erased) == (2, 1)
    assert await count(empty, filled, "documents") == 2
    found, _ = await empty.fsck()
    assert found == []


async def test_a_tenant_that_is_destroyed_meanwhile_does_not_stop_the_backup(
    filled: Filled, empty: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = filled.house

    class Destroying(LocalBlobStore):
        """A store whose first read comes after its tenant was destroyed."""

        _done = False

        async def read(self, tenant_id: UUID, name: bytes, start: int, length: int) -> bytes:
            if not self._done:
                self._done = True
                ledger = Ledger(house.database, IdSource(), SystemClock())
                destruction = TenantDestruction(house.database, self, ledger)
                await destruction.destroy(tenant_id, lambda _, __: None)
            return await super().read(tenant_id, name, start, length)

    destroying = Destroying(house.folder / "blobs")
    monkeypatch.setattr(House, "store", destroying)
    made = await house.back_up(tmp_path / "backup.tar")
    monkeypatch.undo()
    assert (made.blobs, made.erased) == (0, 3)
    assert (await empty.restore(tmp_path / "backup.tar")).erased == 3


async def test_a_missing_or_altered_blob_stops_the_backup(filled: Filled, tmp_path: Path) -> None:
    path = next((filled.house.folder / "blobs").rglob("?" * 64))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(OperationError, match="is not what was kept"):
        await filled.house.back_up(tmp_path / "backup.tar")
    path.unlink()
    with pytest.raises(OperationError, match="is missing from the blob store"):
        await filled.house.back_up(tmp_path / "backup.tar")
    assert not list(tmp_path.glob("*backup.tar*"))


async def test_a_restore_needs_an_empty_place(filled: Filled, empty: House, tmp_path: Path) -> None:
    await filled.house.back_up(tmp_path / "backup.tar")
    with pytest.raises(OperationError, match="not empty: it has rows in tenants"):
        await filled.house.restore(tmp_path / "backup.tar")
    stray = empty.folder / "blobs" / filled.ann.tenant_id.hex / "ab" / ("ab" * 32)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"another's")
    with pytest.raises(OperationError, match="blob store is not empty"):
        await empty.restore(tmp_path / "backup.tar")
    stray.unlink()
    # As after an interruption: the files are there, the rows are not.
    assert await tenants(empty) == 0
    assert (await empty.restore(tmp_path / "backup.tar")).blobs == 3


async def test_another_key_file_is_refused(filled: Filled, empty: House, tmp_path: Path) -> None:
    await filled.house.back_up(tmp_path / "backup.tar")
    other = House(
        empty.urls, empty.database, empty.folder, await KeyFile.open(tmp_path / "other.key")
    )
    with pytest.raises(OperationError, match="made with another key"):
        await other.restore(tmp_path / "backup.tar")
    assert await tenants(empty) == 0


async def test_a_flipped_byte_in_any_file_is_refused_by_its_name(
    filled: Filled, empty: House, tmp_path: Path
) -> None:
    await filled.house.back_up(tmp_path / "backup")
    files = sorted(path for path in (tmp_path / "backup").rglob("*") if path.is_file())
    assert len(files) > 15
    for path in files:
        whole = path.read_bytes()
        if not whole:
            continue
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        with pytest.raises(OperationError) as refused:
            await empty.restore(tmp_path / "backup")
        if path.name not in {"manifest.json", "manifest.seal"}:
            assert path.name in str(refused.value)
        path.write_bytes(whole)
    assert await tenants(empty) == 0
    await empty.restore(tmp_path / "backup")


async def test_a_missing_or_a_strange_file_is_refused_by_its_name(
    filled: Filled, empty: House, tmp_path: Path
) -> None:
    await filled.house.back_up(tmp_path / "whole")
    for number, pattern in enumerate(("rows/*_documents.copy", "blobs/*/*/*", "manifest.seal")):
        folder = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "whole", folder)
        gone = next(folder.glob(pattern))
        gone.unlink()
        told = "files below blobs/ are missing" if pattern.startswith("blobs") else gone.name
        with pytest.raises(OperationError, match=told):
            await empty.restore(folder)
    (tmp_path / "whole" / "rows" / "notes.txt").write_text("mine")
    with pytest.raises(OperationError, match=r"notes\.txt"):
        await empty.restore(tmp_path / "whole")
    assert await tenants(empty) == 0


@pytest.mark.parametrize(
    ("pattern", "old", "new"),
    [("backup.json", b"\n", b" \n"), ("rows/????_users.copy", b"@", b"A")],
)
async def test_what_is_changed_after_it_was_checked_is_refused(
    filled: Filled, empty: House, tmp_path: Path, pattern: str, old: bytes, new: bytes
) -> None:
    """A key of one's own among the rows would open the restored service to whoever can write to the backup."""
    await filled.house.back_up(tmp_path / "backup")
    path = next((tmp_path / "backup").glob(pattern))
    whole = path.read_bytes()
    assert old in whole

    def change(told: str) -> None:
        if told == "the backup is whole":
            path.write_bytes(whole.replace(old, new, 1))

    with pytest.raises(OperationError, match=f"{path.name} was changed"):
        await empty.restore(tmp_path / "backup", change)
    assert await tenants(empty) == 0
    path.write_bytes(whole)
    gone = next((tmp_path / "backup").glob("rows/*_api_keys.copy"))
    with pytest.raises(OperationError, match=f"{gone.name} was changed"):
        await empty.restore(tmp_path / "backup", lambda _: gone.unlink(missing_ok=True))
    assert await tenants(empty) == 0


@pytest.mark.parametrize(
    "manifest",
    [
        b'{"v":1}',
        b'{"v":1,"files":5,"blobs":0,"blob_bytes":0,"erased":[],"ledgers":[]}',
        b'{"v":1,"files":[{"x":1}],"blobs":0,"blob_bytes":0,"erased":[],"ledgers":[]}',
        b"[" * 100_000,
        b"\xff",
    ],
    ids=lambda manifest: manifest[:20].decode("latin-1"),
)
async def test_a_manifest_that_no_backup_wrote_is_not_read(
    filled: Filled, empty: House, tmp_path: Path, manifest: bytes
) -> None:
    await filled.house.back_up(tmp_path / "backup")
    (tmp_path / "backup" / "manifest.json").write_bytes(manifest)
    with pytest.raises(OperationError, match="not the one that was sealed"):
        await empty.restore(tmp_path / "backup")


@pytest.mark.parametrize("size", [-1, -512, -(2**40)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size_in_an_archive_is_refused(tmp_path: Path, kind: bytes, size: int) -> None:
    header = bytearray(tarfile.TarInfo("backup.json").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + size.to_bytes(11, "big", signed=True)
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    path = tmp_path / "backup.tar"
    path.write_bytes(bytes(header) + bytes(2048))
    with pytest.raises(OperationError, match="a negative size"):
        read_contents(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.98])
async def test_a_cut_archive_is_refused(
    filled: Filled, empty: House, tmp_path: Path, kept: float
) -> None:
    path = tmp_path / "backup.tar"
    await filled.house.back_up(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(OperationError, match="cut short"):
        await empty.restore(path)
    assert await tenants(empty) == 0


async def test_others_can_unpack_the_archive(filled: Filled, tmp_path: Path) -> None:
    await filled.house.back_up(tmp_path / "backup.tar")
    with tarfile.open(tmp_path / "backup.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    await filled.house.back_up(tmp_path / "folder")
    names = [
        {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "unpacked", tmp_path / "folder")
    ]
    assert names[0] == names[1]


async def test_every_table_is_in_a_backup_or_left_out_for_a_reason(
    database: Database,
) -> None:
    async with database.snapshot() as transaction:
        tables = {table.name for table in await list_tables(transaction)}
        there = {
            row["relname"]
            for row in await transaction.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'p')"
            )
        }
        assert tables | LEFT_OUT.keys() == there
        for table in tables - {"tenants"}:
            # Tenant by tenant: a table without that column would be written once for each.
            assert await transaction.fetchval(
                "SELECT count(*) FROM pg_attribute WHERE attrelid = $1::regclass"
                " AND attname = 'tenant_id'",
                table,
            ), table


async def count(house: House, filled: Filled, table: str) -> int:
    async with house.database.transaction(filled.ann) as transaction:
        return int(await transaction.fetchval(f"SELECT count(*) FROM {table}"))


async def tenants(house: House) -> int:
    async with house.database.transaction_without_scope() as transaction:
        return int(
            await transaction.fetchval(
                "SELECT count(*) FROM list_tenants('00000000-0000-0000-0000-000000000000', 10)"
            )
        )


async def dump(house: House, filled: Filled, table: str) -> list[str]:
    async with house.database.transaction(filled.ann) as transaction:
        return sorted(
            row["line"] for row in await transaction.fetch(f"SELECT t::text AS line FROM {table} t")
        )


async def leaves(house: House, filled: Filled, source: str) -> list[bytes]:
    async with house.database.transaction(filled.ann) as transaction:
        return [row["leaf"] for row in await transaction.fetch(f"SELECT leaf FROM {source}")]
