"""`undercroft keys` prints the secret and nothing else, whether a service runs or not."""

import re
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx

from tests.e2e.conftest import start_service, stop_service

KEY = re.compile(r"uk_[0-9a-z]{8}_[0-9A-Za-z_-]{43}\n")


def keys(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "undercroft", "keys", *arguments, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def create(data_dir: Path, user: str = "ann@example.org") -> str:
    made = keys(data_dir, "create", "--tenant", "acme", "--user", user)
    assert made.returncode == 0, made.stderr
    assert KEY.fullmatch(made.stdout), made.stdout
    secret = made.stdout.strip()
    assert secret[12:] not in made.stderr
    return secret


def status(url: str, key: str) -> int:
    return httpx.get(f"{url}/v1/files", headers={"Authorization": f"Bearer {key}"}).status_code


def test_keys_are_made_before_and_while_a_service_runs(tmp_path: Path) -> None:
    data_dir = tmp_path / "a folder" / "data"
    before = create(data_dir)
    process, url = start_service(data_dir)
    try:
        while_running = create(data_dir)
        assert len({before, while_running}) == 2
        assert [status(url, key) for key in (before, while_running)] == [200, 200]
        assert status(url, before[:-1] + ("A" if before[-1] != "A" else "B")) == 401
        revoked = keys(data_dir, "revoke", "--tenant", "acme", "--prefix", before[:11])
        assert (revoked.returncode, revoked.stdout) == (
            0,
            f"Revoked {before[:11]}: the next request with it is refused.\n",
        )
        assert [status(url, key) for key in (before, while_running)] == [401, 200]
        refused = keys(data_dir, "create", "--tenant", "acme", "--user", "nobody")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == "undercroft: 'nobody' is not an e-mail address.\n"
    finally:
        stop_service(process)
