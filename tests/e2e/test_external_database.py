"""The service on a database that is not its own: directly, and through PgBouncer in transaction mode."""

import asyncio
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from openai import OpenAI

from tests.database_server import withdraw_public_rights
from tests.e2e.api import await_readiness
from tests.e2e.conftest import start_service, stop_service
from undercroft.kit.postgres.server import DatabaseUrls

_START_SECONDS: Final = 30.0


@pytest.mark.slow
def test_the_service_runs_on_an_external_database(
    database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    _use_service(database_urls, database_urls.service, tmp_path, {})


@pytest.mark.slow
@pytest.mark.needs("pgbouncer")
def test_the_service_runs_through_pgbouncer(database_urls: DatabaseUrls, tmp_path: Path) -> None:
    with _running_pgbouncer(database_urls.service, tmp_path) as bouncer:

        def lose_it(address: str) -> None:
            bouncer.stop()
            await_readiness(address, 503)
            bouncer.start()
            await_readiness(address)

        # Debian's PgBouncer is older than 1.21, which learned to carry prepared statements.
        settings = {"UNDERCROFT_DATABASE_STATEMENT_CACHE": "0"}
        _use_service(database_urls, bouncer.url, tmp_path, settings, lose_it)


def _use_service(
    urls: DatabaseUrls,
    service_url: str,
    folder: Path,
    settings: dict[str, str],
    finish: Callable[[str], None] = lambda _: None,
) -> None:
    asyncio.run(withdraw_public_rights(urls))
    settings = {"UNDERCROFT_DATABASE_URL": service_url, **settings}
    data_dir = folder / "data"
    _run("migrate", "--data-dir", str(data_dir), UNDERCROFT_DATABASE_URL=urls.service,
         UNDERCROFT_MIGRATION_URL=urls.migration)  # fmt: skip
    process, url = start_service(data_dir, settings)
    try:
        key = _run("keys", "create", "--tenant", "t", "--user", "a@example.org",
                   "--data-dir", str(data_dir), **settings)  # fmt: skip
        with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            store = client.vector_stores.create(name="external")
            added = client.vector_stores.files.upload_and_poll(
                vector_store_id=store.id,
                file=("well.txt", io.BytesIO(b"The old well is 31 metres deep.")),
            )
            assert added.status == "completed", added.last_error
            (found,) = client.vector_stores.search(store.id, query="How deep is the well?").data
            assert "31 metres" in found.content[0].text
        finish(url)
    finally:
        stop_service(process)
    assert not (data_dir / "postgres").exists()


def _run(*arguments: str, **settings: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "undercroft", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass
class _Bouncer:
    """PgBouncer, before a database."""

    url: str
    port: int
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it takes connections."""
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for_port(self.port, self.process)

    def stop(self) -> None:
        """Until it is gone."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)


@contextmanager
def _running_pgbouncer(url: str, folder: Path) -> Generator[_Bouncer]:
    parts = urlsplit(url)
    parameters = parse_qs(parts.query)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    database = parts.path.removeprefix("/")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users.txt").write_text(f'"{user}" "{password}"\n', encoding="utf-8")
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"""
[databases]
{database} = host={parameters["host"][0]} port={parameters["port"][0]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder / "users.txt"}
pool_mode = transaction
default_pool_size = 5
max_client_conn = 100
""",
        encoding="utf-8",
    )
    # PgBouncer refuses to run as root; in a user namespace it is nobody and keeps root's access to these files.
    unprivileged = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    command = [*(unprivileged if os.geteuid() == 0 else []), "pgbouncer", str(configuration)]
    address = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}/{database}"
    bouncer = _Bouncer(address, port, command)
    try:
        bouncer.start()
        yield bouncer
    finally:
        bouncer.stop()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)  # another program's port can only be tried
