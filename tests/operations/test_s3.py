"""A backup of an installation whose database and blobs are elsewhere, restored into another database and bucket."""

from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.database_server import withdraw_public_rights
from tests.operations.conftest import TEXTS, Filled, House, quiet
from tests.servers.aws import ACCESS_KEY, SECRET_KEY, needs_moto, running_moto
from undercroft.commands.backups import back_up, restore
from undercroft.commands.fsck import fsck
from undercroft.kit.settings import Settings, load_settings
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.s3 import Bucket, S3BlobStore


def make_store(server: str, name: str) -> S3BlobStore:
    """A bucket of its own, and a place in it."""
    connection = HTTPConnection(urlsplit(server).netloc, timeout=60)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return S3BlobStore(Bucket(name, "some/place", server, "us-east-1", ACCESS_KEY, SECRET_KEY))


async def copy(source: LocalBlobStore, target: BlobStore, folder: Path) -> None:
    async for kept in source.list_files():
        path = folder / kept.name.hex()
        path.write_bytes(await source.read(kept.tenant_id, kept.name, 0, kept.byte_size))
        await target.keep(StagedBlob(path, kept.name, b"", 1), kept.tenant_id)


def make_settings(house: House, key_file: Path, server: str, bucket: str) -> Settings:
    """Of a service on an external database and a bucket."""
    return load_settings(
        data_dir=house.folder,
        key_file=key_file,
        database_url=house.urls.service,
        migration_url=house.urls.migration,
        blob_store_url=f"s3://{bucket}/some/place",
        s3_endpoint=server,
        s3_region="us-east-1",
        s3_access_key_id=ACCESS_KEY,
        s3_secret_access_key=SECRET_KEY,
    )


@needs_moto
async def test_what_is_outside_comes_back_in_another_database_and_bucket(
    filled: Filled, empty: House, tmp_path: Path
) -> None:
    """By the commands themselves, as an operator runs them."""
    told: list[str] = []
    with running_moto() as server:
        first, second = make_store(server, "first"), make_store(server, "second")
        (tmp_path / "copies").mkdir()
        await copy(filled.house.store, first, tmp_path / "copies")
        key_file = tmp_path / "provider.key"
        before = make_settings(filled.house, key_file, server, "first")
        after = make_settings(empty, key_file, server, "second")
        for house in (filled.house, empty):
            await withdraw_public_rights(house.urls)
        made = await back_up(before, tmp_path / "backup.tar", quiet)
        assert (made.tenants, made.blobs) == (1, len(TEXTS))
        restored = await restore(after, tmp_path / "backup.tar", quiet)
        assert (restored.tenants, restored.blobs) == (1, len(TEXTS))
        assert await fsck(after, told.append, quiet, as_json=False, repair=False), told
        # A file that is lost there is named there.
        async for kept in second.list_files():
            await second.delete(kept.tenant_id, kept.name)
            break
        assert not await fsck(after, told.append, quiet, as_json=False, repair=False)
        assert await fsck(before, told.append, quiet, as_json=False, repair=False)
    whole, lost, summary, untouched = told
    assert whole == untouched
    assert lost.startswith("file_missing: ")
    assert summary.startswith("1 findings in ")
