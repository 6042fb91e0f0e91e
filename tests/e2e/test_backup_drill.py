"""The drill of docs/backup.md: a backup while the service runs, lost data, a restore, and the same answers."""

import asyncio
import io
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from openai import NotFoundError

from tests.database_server import fresh_database, withdraw_public_rights
from tests.e2e.api import connect
from tests.e2e.conftest import Service, make_key, start_service, stop_service
from tests.servers.aws import ACCESS_KEY, SECRET_KEY, needs_moto, running_moto
from undercroft.kit.postgres.server import DatabaseUrls

TEXT = "The lighthouse keeper counted forty-one gannets on the north rock."


UNDERCROFT = (sys.executable, "-m", "undercroft")


def undercroft(
    *arguments: str, data_dir: Path, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*UNDERCROFT, *arguments, "--data-dir", str(data_dir)],
        env={**os.environ, **(settings or {})},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_a_service_comes_back_from_its_backup(tmp_path: Path) -> None:
    old, new, backup = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    process, url = start_service(old)
    try:
        key = make_key(old, "drill", "ann@example.org")
        with Service(url, old, process, key).client() as client:
            file = client.files.create(
                file=("rock.txt", io.BytesIO(TEXT.encode())), purpose="user_data"
            )
            store = client.vector_stores.create(name="birds")
            client.vector_stores.files.create_and_poll(file_id=file.id, vector_store_id=store.id)
            made = undercroft("backup", str(backup), data_dir=old)
            assert made.returncode == 0, made.stderr
            examined = undercroft("fsck", data_dir=old)
            assert examined.returncode == 0, examined.stdout
    finally:
        stop_service(process)
    assert "no key file" in undercroft("restore", str(backup), data_dir=new).stderr
    (new / "keys").mkdir(parents=True)
    shutil.copy2(old / "keys" / "provider.key", new / "keys" / "provider.key")
    shutil.rmtree(old)
    restored = undercroft("restore", str(backup), data_dir=new)
    assert restored.returncode == 0, restored.stderr
    assert "1 contents wait to be indexed again" in restored.stdout
    again = undercroft("restore", str(backup), data_dir=new)
    assert again.returncode == 1
    assert "not empty" in again.stderr
    process, url = start_service(new)
    try:
        with Service(url, new, process, key).client() as client:
            assert client.files.content(file.id).text == TEXT
            client.vector_stores.files.poll(file.id, vector_store_id=store.id)
            found = client.vector_stores.search(store.id, query="Who counted gannets?")
            assert found.data[0].content[0].text == TEXT
            examined = undercroft("fsck", "--json", data_dir=new)
            assert (examined.returncode, examined.stdout.count("\n")) == (0, 1), examined.stdout
    finally:
        stop_service(process)


@pytest.fixture
async def other_urls(database_server: DatabaseUrls) -> AsyncGenerator[DatabaseUrls]:
    """Another empty database, to restore into."""
    async with fresh_database(database_server) as urls:
        yield urls


@pytest.mark.slow
@needs_moto
def test_a_service_on_an_external_database_and_s3_comes_back_elsewhere(
    database_urls: DatabaseUrls, other_urls: DatabaseUrls, tmp_path: Path
) -> None:
    old, new, backup = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    with running_moto() as server:
        before = prepare_outside(database_urls, server, "before", old)
        after = prepare_outside(other_urls, server, "after", new)
        process, url = start_service(old, before)
        try:
            key = make_key(old, "drill", "ann@example.org", settings=before)
            with Service(url, old, process, key).client() as client:
                content = io.BytesIO(TEXT.encode())
                file = client.files.create(file=("rock.txt", content), purpose="user_data")
                unfinished = client.uploads.create(
                    bytes=9, filename="a.txt", mime_type="text/plain", purpose="user_data"
                )
                part = client.uploads.parts.create(unfinished.id, data=io.BytesIO(b"The"))
                record = keep_record(url, key)
                backing_up = subprocess.Popen(
                    [*UNDERCROFT, "backup", str(backup), "--data-dir", str(old)],
                    env={**os.environ, **before},
                )
                for number in range(20):
                    content = io.BytesIO(f"Gannet {number}.".encode())
                    client.files.create(file=(f"{number}.txt", content), purpose="user_data")
                assert backing_up.wait(timeout=120) == 0
                examined = undercroft("fsck", data_dir=old, settings=before)
                assert examined.returncode == 0, examined.stdout
        finally:
            stop_service(process)
        (new / "keys").mkdir(parents=True)
        shutil.copy2(old / "keys" / "provider.key", new / "keys" / "provider.key")
        owner = {**after, "UNDERCROFT_MIGRATION_URL": other_urls.migration}
        restored = undercroft("restore", str(backup), data_dir=new, settings=owner)
        assert restored.returncode == 0, restored.stderr
        process, url = start_service(new, after)
        try:
            with Service(url, new, process, key).client() as client:
                assert client.files.content(file.id).text == TEXT
                assert keep_record(url, key, record) == record
                with pytest.raises(NotFoundError):
                    client.uploads.complete(unfinished.id, part_ids=[part.id])
                examined = undercroft("fsck", data_dir=new, settings=after)
                assert examined.returncode == 0, examined.stdout
        finally:
            stop_service(process)


def prepare_outside(urls: DatabaseUrls, server: str, bucket: str, data_dir: Path) -> dict[str, str]:
    """A migrated database, and a bucket; the settings of a service on them."""
    asyncio.run(withdraw_public_rights(urls))
    assert httpx.put(f"{server}/{bucket}", timeout=60).status_code == 200
    settings = {
        "UNDERCROFT_DATABASE_URL": urls.service,
        "UNDERCROFT_BLOB_STORE_URL": f"s3://{bucket}/some/place",
        "UNDERCROFT_S3_ENDPOINT": server,
        "UNDERCROFT_S3_REGION": "us-east-1",
        "UNDERCROFT_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "UNDERCROFT_S3_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    owner = {**settings, "UNDERCROFT_MIGRATION_URL": urls.migration}
    migrated = undercroft("migrate", data_dir=data_dir, settings=owner)
    assert migrated.returncode == 0, migrated.stderr
    return settings


def keep_record(url: str, key: str, kept: dict[str, Any] | None = None) -> dict[str, Any]:
    """Keep a record, or read the one that was kept."""
    with connect(f"{url}/v1", key) as client:
        if kept is not None:
            return client.get(f"/records/{kept['id']}").json()
        schema = client.post("/schemas", json={"name": "bird", "schema": {"type": "object"}}).json()
        body = {"schema": schema["id"], "data": {"gannets": 41}}
        return client.post("/records", json=body).json()
