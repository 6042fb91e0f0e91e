"""The drill of docs/backup.md: a backup while the service runs, lost data, a restore, and the same answers."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Service, make_key, start_service, stop_service

TEXT = "The lighthouse keeper counted forty-one gannets on the north rock."


def undercroft(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "undercroft", *arguments, "--data-dir", str(data_dir)],
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
        client = Service(url, old, process, key).client()
        file = client.files.create(
            file=("rock.txt", io.BytesIO(TEXT.encode())), purpose="user_data"
        )
        store = client.vector_stores.create(name="birds")
        client.vector_stores.files.create_and_poll(file_id=file.id, vector_store_id=store.id)
        made = undercroft("backup", str(backup), data_dir=old)
        assert made.returncode == 0, made.stderr
        examined = undercroft("fsck", data_dir=old)
        assert examined.returncode == 0, examined.stdout
        client.close()
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
        client = Service(url, new, process, key).client()
        assert client.files.content(file.id).text == TEXT
        client.vector_stores.files.poll(file.id, vector_store_id=store.id)
        found = client.vector_stores.search(store.id, query="Who counted gannets?")
        assert found.data[0].content[0].text == TEXT
        examined = undercroft("fsck", "--json", data_dir=new)
        assert (examined.returncode, examined.stdout.count("\n")) == (0, 1), examined.stdout
        client.close()
    finally:
        stop_service(process)
