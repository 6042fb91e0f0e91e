"""`undercroft encryption` while a service runs on the same data."""

import io
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from tests.e2e.conftest import Service, make_key, start_service, stop_service


def encryption(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "undercroft", "encryption", *arguments, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_keys_are_rotated_and_destroyed_under_a_running_service(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process, url = start_service(data_dir)
    try:
        key = make_key(data_dir, "acme", "ann@example.org")
        with Service(url, data_dir, process, key).client() as client:
            file = client.files.create(
                file=("a.txt", io.BytesIO(b"The mill.")), purpose="user_data"
            )
            key_file = data_dir / "keys" / "provider.key"
            first = key_file.read_text()
            for command, said in (
                (("rotate-tenant", "--tenant", "acme"), "The tenant acme has another key"),
                (("rotate-provider",), f"Keep a new copy of {key_file}."),
            ):
                done = encryption(data_dir, *command)
                assert done.returncode == 0, done.stderr
                assert said in done.stdout
                assert client.files.content(file.id).read() == b"The mill."
            assert len(key_file.read_text().splitlines()) == 2
            assert key_file.read_text() != first
            unsure = encryption(data_dir, "destroy-tenant", "--tenant", "acme")
            assert unsure.returncode == 1
            assert "--forever" in unsure.stderr
            assert client.files.content(file.id).read() == b"The mill."
            unknown = encryption(data_dir, "rotate-tenant", "--tenant", "nobody")
            assert (unknown.returncode, unknown.stderr.count("Traceback")) == (1, 0)
            destroyed = encryption(data_dir, "destroy-tenant", "--tenant", "acme", "--forever")
            assert destroyed.returncode == 0, destroyed.stderr
            assert "The keys of the tenant acme are destroyed" in destroyed.stdout
            with pytest.raises(openai.APIStatusError) as caught:
                client.files.content(file.id)
            assert (caught.value.status_code, caught.value.code) == (410, "key_destroyed")
    finally:
        stop_service(process)
