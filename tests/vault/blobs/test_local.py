"""Blobs as they are received, kept, read and deleted: never in the clear, whole or not at all."""

import io
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import pytest

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.segments import HEADER_BYTES, SEGMENT_BYTES, ciphertext_length
from undercroft.kit.ids import IdSource
from undercroft.vault.blobs.contents import BlobContent
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.models import StagedBlob, StoredBlob, blob_context
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.errors import BlobMissingError, EmptyFileError, TooLargeError

IDS = IdSource()
TENANT, BLOB, OTHER = IDS.new(), IDS.new(), IDS.new()
KEY = bytes(range(32))
LIMIT = 2_000_000
BLOCK = 100_000


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staging", IDS)


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def receive(staging: Staging, content: bytes) -> StagedBlob:
    writer = staging.begin(LIMIT, KEY, blob_context(TENANT, BLOB))
    try:
        for start in range(0, len(content), BLOCK):
            writer.write(content[start : start + BLOCK])
        return writer.finish()
    except Exception:
        writer.close()
        raise


async def keep(staging: Staging, store: LocalBlobStore, content: bytes) -> StoredBlob:
    staged = await receive(staging, content)
    await store.keep(staged, TENANT)
    return StoredBlob(TENANT, BLOB, staged.name, staged.byte_size)


@pytest.mark.parametrize(
    "size", [1, SEGMENT_BYTES - 57, SEGMENT_BYTES - 56, SEGMENT_BYTES, 9 * SEGMENT_BYTES + 5]
)
async def test_what_is_kept_is_read_back_whole_and_in_ranges(
    staging: Staging, store: LocalBlobStore, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    blob = await keep(staging, store, content)
    opened = await BlobContent.open(store, blob, KEY)
    assert await opened.read() == content
    for start in {0, 1, size // 2, size - 1, min(size, SEGMENT_BYTES)}:
        for end in {start, min(start + 1, size), min(start + 70_000, size), size}:
            opened = await BlobContent.open(store, blob, KEY, (start, end))
            assert await opened.read() == content[start:end]
    (file,) = files(tmp_path)
    assert file.name == blob.name.hex()
    assert [kept.name async for kept in store.list_files()] == [blob.name]


async def test_bytes_are_on_the_disk_before_they_get_their_name_and_the_name_before_they_are_kept(
    staging: Staging, store: LocalBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, Path, int]] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        steps.append(("on the disk", Path(f"/proc/self/fd/{descriptor}").readlink(), size))
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        steps.append(("named", target, 0))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    staged = await receive(staging, os.urandom(2 * SEGMENT_BYTES + 5))
    await store.keep(staged, TENANT)
    (kept,) = files(tmp_path)
    assert steps == [
        ("on the disk", staged.path, kept.stat().st_size),
        ("named", kept, 0),
        *(("on the disk", folder, 0) for folder in kept.parents[:3]),
    ]


async def test_no_byte_of_the_content_is_on_the_disk(staging: Staging, tmp_path: Path) -> None:
    canary = b"canary-4711"
    await receive(staging, canary * 10_000)
    (file,) = files(tmp_path)
    assert canary not in file.read_bytes()


async def test_a_staged_blob_can_be_looked_into(staging: Staging) -> None:
    content = os.urandom(3 * SEGMENT_BYTES)
    staged = await receive(staging, content)

    def look(file: BinaryIO) -> tuple[bytes, bytes]:
        end = file.seek(-10, io.SEEK_END)
        return file.read(20), (file.seek(0), file.read(end))[1]

    tail, head = await staging.inspect(staged, KEY, blob_context(TENANT, BLOB), look)
    assert head + tail == content


@pytest.mark.parametrize(
    ("content", "error"), [(b"", EmptyFileError), (bytes(LIMIT + 1), TooLargeError)]
)
async def test_what_is_refused_leaves_nothing_behind(
    staging: Staging, tmp_path: Path, content: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await receive(staging, content)
    assert files(tmp_path) == []


async def test_bytes_of_another_blob_or_key_do_not_open(
    staging: Staging, store: LocalBlobStore
) -> None:
    blob = await keep(staging, store, b"content")
    moved = StoredBlob(TENANT, OTHER, blob.name, blob.byte_size)
    for place, key in ((moved, KEY), (blob, bytes(32))):
        with pytest.raises(DecryptionError):
            await BlobContent.open(store, place, key)


@pytest.mark.parametrize("damage", ["flip", "cut", "swap"])
async def test_damage_is_noticed(
    staging: Staging, store: LocalBlobStore, tmp_path: Path, damage: str
) -> None:
    blob = await keep(staging, store, os.urandom(20 * SEGMENT_BYTES))
    (file,) = files(tmp_path)
    data = bytearray(file.read_bytes())
    match damage:
        case "flip":
            data[15 * SEGMENT_BYTES] ^= 1
        case "cut":
            del data[12 * SEGMENT_BYTES :]
        case _:
            first, second = (
                slice(10 * SEGMENT_BYTES, 11 * SEGMENT_BYTES),
                slice(11 * SEGMENT_BYTES, 12 * SEGMENT_BYTES),
            )
            data[first], data[second] = data[second], data[first]
    file.write_bytes(data)
    opened = await BlobContent.open(store, blob, KEY)
    with pytest.raises(DecryptionError):
        await opened.read()


async def test_damage_where_a_range_begins_is_noticed_before_anything_is_promised(
    staging: Staging, store: LocalBlobStore, tmp_path: Path
) -> None:
    size = 30 * SEGMENT_BYTES
    blob = await keep(staging, store, os.urandom(size))
    (file,) = files(tmp_path)
    data = bytearray(file.read_bytes())
    data[25 * SEGMENT_BYTES + 5] ^= 1
    file.write_bytes(data)
    far = await BlobContent.open(store, blob, KEY, (16 * SEGMENT_BYTES, size))
    with pytest.raises(DecryptionError):
        await far.read()
    # Up to half a MiB ahead, and no further than what is wanted.
    with pytest.raises(DecryptionError):
        await BlobContent.open(store, blob, KEY, (19 * SEGMENT_BYTES, size))
    before = await BlobContent.open(store, blob, KEY, (19 * SEGMENT_BYTES, 24 * SEGMENT_BYTES))
    assert len(await before.read()) == 5 * SEGMENT_BYTES


async def test_each_byte_is_read_and_decrypted_once(
    staging: Staging, store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = await keep(staging, store, os.urandom(20 * SEGMENT_BYTES))
    read, spans = store.read, list[tuple[int, int]]()

    async def observed(tenant_id: UUID, name: bytes, start: int, length: int) -> bytes:
        spans.append((start, length))
        return await read(tenant_id, name, start, length)

    monkeypatch.setattr(store, "read", observed)
    await (await BlobContent.open(store, blob, KEY)).read()
    assert [start for start, _ in spans] == [0, 8 * SEGMENT_BYTES, 16 * SEGMENT_BYTES]
    assert sum(length for _, length in spans) == ciphertext_length(blob.byte_size)
    spans.clear()
    await (
        await BlobContent.open(store, blob, KEY, (9 * SEGMENT_BYTES, 9 * SEGMENT_BYTES + 1))
    ).read()
    assert spans == [(0, HEADER_BYTES), (9 * SEGMENT_BYTES, SEGMENT_BYTES)]


async def test_a_missing_blob_is_noticed_before_anything_is_promised(
    staging: Staging, store: LocalBlobStore
) -> None:
    blob = await keep(staging, store, b"content")
    await store.delete(TENANT, blob.name)
    await store.delete(TENANT, blob.name)
    with pytest.raises(BlobMissingError):
        await BlobContent.open(store, blob, KEY)


async def test_only_its_owner_can_enter_the_folders(
    staging: Staging, store: LocalBlobStore, tmp_path: Path
) -> None:
    await keep(staging, store, b"content")
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert folders
    assert {folder.stat().st_mode & 0o077 for folder in folders} == {0}


async def test_what_a_crash_left_is_swept_and_the_rest_is_not(
    staging: Staging, store: LocalBlobStore, tmp_path: Path
) -> None:
    blob = await keep(staging, store, b"content")
    old, fresh = await receive(staging, b"old"), await receive(staging, b"fresh")
    two_days_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(old.path, (two_days_ago, two_days_ago))
    await staging.sweep(datetime.now(UTC))
    assert {path.name for path in files(tmp_path)} == {fresh.path.name, blob.name.hex()}


async def test_what_goes_while_a_folder_is_looked_through_is_passed_over(
    staging: Staging, store: LocalBlobStore, tmp_path: Path
) -> None:
    """A link to nothing looks as a file does that another process deletes between the listing and the look at it."""
    blob = await keep(staging, store, b"content")
    (file,) = files(tmp_path)
    file.with_name(bytes(32).hex()).symlink_to("gone")
    assert [kept.name async for kept in store.list_files()] == [blob.name]
    (tmp_path / "staging" / "0").symlink_to("gone")
    await staging.sweep(datetime.now(UTC))
