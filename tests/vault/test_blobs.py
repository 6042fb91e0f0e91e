"""Bytes on a local folder: whole or not at all, and nothing left of what was not kept."""

import asyncio
import hashlib
import io
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from undercroft.kit.ids import IdSource
from undercroft.vault.blobs import LocalBlobStore
from undercroft.vault.errors import EmptyFileError, TooLargeError

LIMIT = 600_000
IDS = IdSource()


class Held(io.BytesIO):
    """A stream whose reader waits, in its thread, until the test lets it go on."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reading = threading.Event()
        self.released = threading.Event()
        self.ended = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.reading.set()
        self.released.wait(20)
        block = super().read(size)
        if not block:
            self.ended.set()
        return block


class Broken(io.BytesIO):
    """A stream that breaks off after its first block."""

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            raise OSError("the connection was reset")
        return block


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs", IDS)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [1, 256 * 1024, 256 * 1024 + 1, LIMIT])
async def test_what_is_kept_is_read_back(store: LocalBlobStore, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    staged = await store.stage(io.BytesIO(content), LIMIT)
    assert (staged.digest, staged.byte_size) == (hashlib.sha256(content).digest(), size)
    tenant_id, blob_id = IDS.new(), IDS.new()
    await store.keep(staged, tenant_id, blob_id)
    await store.discard(staged)
    assert b"".join([block async for block in store.read(tenant_id, blob_id)]) == content
    assert files(tmp_path) == [store.local_path(tenant_id, blob_id)]
    for _ in range(2):
        await store.delete(tenant_id, blob_id)
    assert files(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        await anext(aiter(store.read(tenant_id, blob_id)))


async def test_a_stream_is_read_from_where_it_stands(store: LocalBlobStore) -> None:
    source = io.BytesIO(b"header body")
    source.seek(7)
    staged = await store.stage(source, LIMIT)
    assert staged.digest == hashlib.sha256(b"body").digest()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (io.BytesIO(bytes(LIMIT + 1)), TooLargeError),
        (io.BytesIO(), EmptyFileError),
        (Broken(b"half of it"), OSError),
    ],
)
async def test_what_fails_leaves_no_file(
    store: LocalBlobStore, tmp_path: Path, source: BinaryIO, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await store.stage(source, LIMIT)
    assert files(tmp_path) == []


async def test_a_cancelled_upload_leaves_no_file_also_when_its_thread_goes_on(
    store: LocalBlobStore, tmp_path: Path
) -> None:
    source = Held(b"The mill.")
    upload = asyncio.create_task(store.stage(source, LIMIT))
    assert await asyncio.to_thread(source.reading.wait, 20)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert files(tmp_path) == []
    source.released.set()
    assert await asyncio.to_thread(source.ended.wait, 20)
    assert files(tmp_path) == []


async def test_only_its_owner_can_enter_the_folders(store: LocalBlobStore, tmp_path: Path) -> None:
    tenant_id, blob_id = IDS.new(), IDS.new()
    staged = await store.stage(io.BytesIO(b"The mill."), LIMIT)
    await store.keep(staged, tenant_id, blob_id)
    for folder in ("", "staging", tenant_id.hex):
        assert (tmp_path / "blobs" / folder).stat().st_mode & 0o077 == 0, folder


async def test_the_sweep_takes_what_is_old_and_nothing_else(
    store: LocalBlobStore, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    tenant_id, blob_id = IDS.new(), IDS.new()
    await store.keep(await store.stage(io.BytesIO(b"kept"), LIMIT), tenant_id, blob_id)
    old = await store.stage(io.BytesIO(b"abandoned"), LIMIT)
    fresh = await store.stage(io.BytesIO(b"arriving"), LIMIT)
    for path in (store.local_path(tenant_id, blob_id), old.path):
        long_ago = (now - timedelta(days=2)).timestamp()
        os.utime(path, (long_ago, long_ago))
    await store.sweep(now)
    assert set(files(tmp_path)) == {store.local_path(tenant_id, blob_id), fresh.path}
