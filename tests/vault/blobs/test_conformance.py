"""What every blob store does: blobs whole or not at all, in any range, each its tenant's alone, no cut unnoticed."""

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.segments import HEADER_BYTES, SEGMENT_BYTES, ciphertext_length
from undercroft.kit.ids import IdSource
from undercroft.vault.blobs.contents import BlobContent
from undercroft.vault.blobs.models import StagedBlob, StoredBlob, blob_context
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.errors import BlobMissingError

IDS = IdSource()
TENANT, OTHER, BLOB = IDS.new(), IDS.new(), IDS.new()
KEY = bytes(range(32))
MEBIBYTE = 1024 * 1024


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staging", IDS)


def stage(staging: Staging, content: bytes) -> StagedBlob:
    writer = staging.begin(len(content), KEY, blob_context(TENANT, BLOB))
    writer.write(content)
    return writer.finish()


def stage_bytes(folder: Path, ciphertext: bytes, byte_size: int) -> StagedBlob:
    """Bytes that need not be a good ciphertext."""
    path = folder / IDS.new().hex
    path.write_bytes(ciphertext)
    name = hashlib.sha256(ciphertext).digest()
    return StagedBlob(path, name, hashlib.sha256(b"").digest(), byte_size)


@pytest.mark.parametrize("size", [1, SEGMENT_BYTES - 56, 5 * MEBIBYTE, 21 * MEBIBYTE + 7])
async def test_what_is_kept_is_read_back_in_any_range(
    any_store: BlobStore, staging: Staging, size: int
) -> None:
    content = os.urandom(size)
    staged = stage(staging, content)
    ciphertext = staged.path.read_bytes()
    await any_store.keep(staged, TENANT)
    length = len(ciphertext)
    for start, count in ((0, length), (0, 1), (length - 1, 1), (length // 2, 70_000)):
        read = await any_store.read(TENANT, staged.name, start, count)
        assert read == ciphertext[start : start + count]
    blob = StoredBlob(TENANT, BLOB, staged.name, size)
    start, end = size // 3, size // 3 * 2
    opened = await BlobContent.open(any_store, blob, KEY, (start, end))
    assert await opened.read() == content[start:end]
    assert await (await BlobContent.open(any_store, blob, KEY)).read() == content


async def test_less_is_read_at_its_end_and_nothing_after_it(
    any_store: BlobStore, tmp_path: Path
) -> None:
    staged = stage_bytes(tmp_path, b"0123456789", 1)
    await any_store.keep(staged, TENANT)
    assert await any_store.read(TENANT, staged.name, 7, 100) == b"789"
    for start in (10, 11, MEBIBYTE):
        assert await any_store.read(TENANT, staged.name, start, 5) == b""


async def test_a_blob_is_its_tenants_alone(any_store: BlobStore, staging: Staging) -> None:
    staged = stage(staging, b"content")
    await any_store.keep(staged, TENANT)
    with pytest.raises(BlobMissingError):
        await any_store.read(OTHER, staged.name, 0, 10)
    await any_store.delete(OTHER, staged.name)
    assert await any_store.read(TENANT, staged.name, 0, 1)


async def test_what_is_deleted_is_gone_and_deleting_it_again_is_harmless(
    any_store: BlobStore, staging: Staging
) -> None:
    staged = stage(staging, b"content")
    await any_store.keep(staged, TENANT)
    for _ in range(2):
        await any_store.delete(TENANT, staged.name)
    with pytest.raises(BlobMissingError):
        await any_store.read(TENANT, staged.name, 0, 1)
    assert [kept async for kept in any_store.list_files()] == []


async def test_everything_kept_is_listed_with_its_size_and_age(
    any_store: BlobStore, staging: Staging
) -> None:
    kept: dict[tuple[object, bytes], int] = {}
    for number, tenant in enumerate((TENANT, TENANT, OTHER)):
        staged = stage(staging, os.urandom(number + 1))
        await any_store.keep(staged, tenant)
        kept[tenant, staged.name] = ciphertext_length(number + 1)
    listed = [file async for file in any_store.list_files()]
    assert {(file.tenant_id, file.name): file.byte_size for file in listed} == kept
    # By the clock of the server, which is this machine's.
    for file in listed:
        assert abs(datetime.now(UTC) - file.modified_at) < timedelta(minutes=1)


async def test_the_same_blob_is_kept_by_many_at_once(any_store: BlobStore, tmp_path: Path) -> None:
    ciphertext = os.urandom(9 * MEBIBYTE)
    staged = [stage_bytes(tmp_path, ciphertext, 1) for _ in range(4)]
    await asyncio.gather(*(any_store.keep(one, TENANT) for one in staged))
    assert await any_store.read(TENANT, staged[0].name, 0, len(ciphertext)) == ciphertext
    assert len([file async for file in any_store.list_files()]) == 1


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("segments", [0, 1, 2, 8, 9])
async def test_a_blob_cut_at_any_segments_edge_is_damaged_and_never_just_shorter(
    any_store: BlobStore, staging: Staging, tmp_path: Path, segments: int, more: int
) -> None:
    content = os.urandom(9 * SEGMENT_BYTES + 100)
    whole = stage(staging, content).path.read_bytes()
    cut = whole[: (segments * SEGMENT_BYTES or HEADER_BYTES) + more]
    staged = stage_bytes(tmp_path, cut, len(content))
    await any_store.keep(staged, TENANT)
    blob = StoredBlob(TENANT, BLOB, staged.name, len(content))
    with pytest.raises(DecryptionError):
        await (await BlobContent.open(any_store, blob, KEY)).read()
