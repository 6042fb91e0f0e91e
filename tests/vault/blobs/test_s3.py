"""What only a store at the other end of a network can do wrong."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import obstore
import pytest
from obstore.store import S3Store
from pydantic import SecretStr

from tests.servers.aws import needs_moto
from tests.vault.blobs.test_conformance import MEBIBYTE, TENANT, stage_bytes
from undercroft.kit.errors import UnavailableError
from undercroft.kit.settings import Settings, SettingsError, load_settings
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.s3 import Bucket, S3BlobStore

pytestmark = needs_moto


class Narrow:
    """A way to the server that takes so many bytes and then no more."""

    def __init__(self, url: str, limit: int) -> None:
        self._target = urlsplit(url)
        self._left = limit
        self.is_stuck = asyncio.Event()
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["Narrow"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.hostname, self._target.port
        their_reader, their_writer = await asyncio.open_connection(host, port)
        back = asyncio.create_task(self._answer(their_reader, writer))
        with suppress(ConnectionError):
            while block := await reader.read(65536):
                self._left -= len(block)
                if self._left < 0:
                    self.is_stuck.set()
                    continue
                their_writer.write(block)
                await their_writer.drain()
        their_writer.close()
        back.cancel()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            while block := await reader.read(65536):
                writer.write(block)
                await writer.drain()


async def test_an_upload_that_ends_half_way_leaves_no_object_and_can_be_repeated(
    bucket: Bucket, tmp_path: Path
) -> None:
    assert bucket.endpoint is not None
    ciphertext = os.urandom(24 * MEBIBYTE)
    staged = stage_bytes(tmp_path, ciphertext, 1)
    store = S3BlobStore(bucket)
    async with Narrow(bucket.endpoint, 12 * MEBIBYTE).open() as narrow:
        keeping = asyncio.create_task(
            S3BlobStore(replace(bucket, endpoint=narrow.url)).keep(staged, TENANT)
        )
        await narrow.is_stuck.wait()
        assert [file async for file in store.list_files()] == []
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    assert [file async for file in store.list_files()] == []
    await store.keep(staged, TENANT)
    assert await store.read(TENANT, staged.name, 0, len(ciphertext)) == ciphertext


@pytest.mark.parametrize("trouble", ["no server", "no bucket"])
async def test_a_store_that_does_not_answer_is_unavailable_and_not_empty(
    bucket: Bucket, tmp_path: Path, unused_tcp_port: int, trouble: str
) -> None:
    if trouble == "no server":
        bucket = replace(bucket, endpoint=f"http://127.0.0.1:{unused_tcp_port}")
    else:
        bucket = replace(bucket, name="another-bucket")
    store, staged = S3BlobStore(bucket), stage_bytes(tmp_path, b"content", 1)

    async def list_them() -> None:
        async for _ in store.list_files():
            pass

    for asked in (
        store.keep(staged, TENANT),
        store.read(TENANT, staged.name, 0, 1),
        store.delete(TENANT, staged.name),
        list_them(),
    ):
        with pytest.raises(UnavailableError) as caught:
            await asked
        assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
        assert caught.value.retry_after
        assert bucket.name not in caught.value.message


async def test_objects_of_others_under_the_same_prefix_are_not_listed(
    bucket: Bucket, tmp_path: Path
) -> None:
    store, staged = S3BlobStore(bucket), stage_bytes(tmp_path, b"content", 1)
    await store.keep(staged, TENANT)
    assert bucket.endpoint is not None
    raw = S3Store(
        bucket.name,
        prefix=bucket.prefix,
        endpoint=bucket.endpoint,
        region="us-east-1",
        access_key_id="a",
        secret_access_key="b",
        client_options={"allow_http": True},
    )
    name = staged.name.hex()
    for path in ("notes.txt", f"{TENANT.hex}/{name}", f"{TENANT.hex}/zz/{name}", f"x/ab/{name}"):
        await obstore.put_async(raw, path, b"?")
    assert [file.name async for file in store.list_files()] == [staged.name]


def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    assert isinstance(open_blob_store(Settings(data_dir=tmp_path)), LocalBlobStore)
    settings = Settings(
        data_dir=tmp_path,
        blob_store_url="s3://bucket/a/b/",
        s3_access_key_id=SecretStr("id"),
        s3_secret_access_key=SecretStr("very-secret"),
    )
    assert isinstance(open_blob_store(settings), S3BlobStore)
    assert "very-secret" not in repr(settings)
    assert "very-secret" not in repr(Bucket("b", secret_access_key="very-secret"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"blob_store_url": "https://bucket/a"},
        {"blob_store_url": "s3://"},
        {"blob_store_url": "s3://key:secret@bucket"},
        {"blob_store_url": "s3://bucket", "s3_access_key_id": "id"},
        {"s3_endpoint": "http://127.0.0.1:1"},
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="Wrong setting"):
        load_settings(**wrong)
