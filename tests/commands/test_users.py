"""`undercroft users` and `undercroft keys list`: an operator sees who there is, stops somebody, and sees no secret."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import make_key


def run(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "undercroft", *arguments, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_operator_lists_and_suspends(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    secret = make_key(data_dir, "acme", "ann@example.org", "admin")
    make_key(data_dir, "acme", "bob@example.org")
    suspended = run(data_dir, "users", "suspend", "--tenant", "acme", "--user", "bob@example.org")
    assert suspended.returncode == 0, suspended.stderr
    refused = run(data_dir, "users", "suspend", "--tenant", "acme", "--user", "ann@example.org")
    assert refused.returncode == 1
    assert "last admin" in refused.stderr
    ann, bob = run(data_dir, "users", "list", "--tenant", "acme").stdout.splitlines()
    assert ann.endswith("  ann@example.org  person  admin")
    assert bob.endswith("  bob@example.org  person  member  suspended")
    run(data_dir, "users", "reinstate", "--tenant", "acme", "--user", bob.split()[0])
    assert "suspended" not in run(data_dir, "users", "list", "--tenant", "acme").stdout
    listed = run(data_dir, "keys", "list", "--tenant", "acme", "--user", "ann@example.org").stdout
    assert listed == f"{secret[:11]}  ann@example.org  all  never expires\n"
