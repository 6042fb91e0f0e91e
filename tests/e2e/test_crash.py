"""`kill -9` at a random moment of an ingest, a restart, and every document is indexed exactly once."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import psutil
import pytest

from tests.conftest import command_of
from tests.e2e.api import await_readiness
from tests.e2e.conftest import SAMPLES, make_key, start_service, stop_service
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import running_urls
from undercroft.ledger.models import OperatorScope

SEEDS: Final = int(os.environ.get("UNDERCROFT_TEST_CRASH_SEEDS", "1"))
DOCUMENTS: Final = sum(1 for path in SAMPLES.rglob("*") if path.is_file())
_DEADLINE_SECONDS: Final = 150.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_killed_ingest_ends_with_every_document_indexed_once(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    data_dir = tmp_path / "data"
    process, url = start_service(data_dir)
    key = make_key(data_dir, "crash", "ann@example.org")
    for _ in range(2):
        ingest = _start_ingest(url, key)
        counter, count = draw.choice(["total", "completed"]), draw.randrange(1, DOCUMENTS)
        _wait_for(url, key, counter, count, ingest)
        _kill(process, draw.choice(["service", "worker", "postgres", "everything"]))
        ingest.kill()
        ingest.wait()
        process, url = start_service(data_dir)
    assert _start_ingest(url, key).wait(timeout=_DEADLINE_SECONDS) == 0
    try:
        assert _counts(url, key)["completed"] == DOCUMENTS
        await _check_index(data_dir)
    finally:
        stop_service(process)
    assert not _processes_of(data_dir)


def _start_ingest(url: str, key: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "undercroft", "ingest", str(SAMPLES), "--url", url],
        env={**os.environ, "UNDERCROFT_API_KEY": key},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for(
    url: str, key: str, counter: str, count: int, ingest: subprocess.Popen[bytes]
) -> None:
    """Until the ingest has come this far, or to its end."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while _counts(url, key)[counter] < count and ingest.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # how far another process is can only be asked


def _counts(url: str, key: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    stores = httpx.get(f"{url}/v1/vector_stores", headers=headers, timeout=60).json()["data"]
    return stores[0]["file_counts"] if stores else {"total": 0, "completed": 0}


def _kill(process: subprocess.Popen[bytes], victim: str) -> None:
    """End it as a power cut would: nothing can be tidied up. The service itself goes down in every case."""
    tree = psutil.Process(process.pid).children(recursive=True)
    # PostgreSQL's workers come and go meanwhile: what has ended by itself is as dead as it should be.
    for child in tree:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            is_one = {"worker": "worker" in child.cmdline(), "postgres": child.name() == "postgres"}
            if victim == "everything" or is_one.get(victim, False):
                child.kill()
    process.send_signal(signal.SIGKILL)
    process.wait()


async def _check_index(data_dir: Path) -> None:
    urls = running_urls(data_dir)
    assert urls is not None
    async with Database(urls.service, clock=SystemClock(), size=2) as database:
        async with database.transaction_without_scope() as transaction:
            tenant_id = await transaction.fetchval("SELECT find_tenant('crash')")
        scope = OperatorScope(tenant_id)
        async with database.transaction(scope) as transaction:
            checks = await transaction.fetchrow(
                """
                SELECT
                    (SELECT count(*) FROM blobs WHERE index_state <> 'indexed') AS unfinished,
                    (SELECT count(*) FROM blobs AS b
                     WHERE (SELECT array_agg(c.ordinal ORDER BY c.ordinal) FROM chunks AS c WHERE c.blob_id = b.id)
                       IS DISTINCT FROM
                       (SELECT array_agg(g) FROM generate_series(
                            0, (SELECT count(*)::int FROM chunks AS c WHERE c.blob_id = b.id) - 1) AS g)
                    ) AS with_gaps,
                    (SELECT count(*) FROM chunks) AS chunks,
                    (SELECT count(*) FROM chunk_embeddings) AS embeddings,
                    (SELECT chunk_count FROM corpus_statistics) AS counted,
                    (SELECT count(*) FROM (
                        SELECT term, chunk_count::bigint FROM term_statistics
                        EXCEPT
                        SELECT w.lexeme, count(*) FROM chunks AS c, unnest(c.lexemes) AS w GROUP BY 1
                    ) AS wrong) AS wrong_terms,
                    (SELECT count(*) FROM jobs WHERE state <> 'succeeded') AS open_jobs
                """
            )
    assert checks is not None
    assert checks["unfinished"] == checks["with_gaps"] == checks["wrong_terms"] == 0
    assert checks["chunks"] == checks["embeddings"] == checks["counted"] > DOCUMENTS


def _processes_of(data_dir: Path) -> list[str]:
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if any(str(data_dir) in argument for argument in process.info["cmdline"] or ())
    ]


def test_a_database_that_dies_is_started_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process, url = start_service(data_dir)
    try:
        key = make_key(data_dir, "crash", "ann@example.org")
        (postmaster,) = _postmasters(process)
        postmaster.kill()
        headers = {"Authorization": f"Bearer {key}"}
        # How long it is away is its own matter: it may be back before the first look.
        assert httpx.get(f"{url}/v1/files", headers=headers, timeout=60).status_code in {200, 503}
        _wait_until_replaced(process, postmaster)
        await_readiness(url)
        assert httpx.get(f"{url}/v1/files", headers=headers, timeout=60).status_code == 200
    finally:
        stop_service(process)
    assert not _processes_of(data_dir)


def _postmasters(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "-D" in (command := command_of(child)) and "postgres" in command[0]
    ]


def _wait_until_replaced(process: subprocess.Popen[bytes], postmaster: psutil.Process) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while _postmasters(process) in ([], [postmaster]):
        assert time.monotonic() < deadline
        time.sleep(0.02)  # another process's children can only be asked for
