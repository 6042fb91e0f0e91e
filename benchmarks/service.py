"""A real service in a temporary folder, for benchmarks that go through the front door."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from rich.console import Console

from undercroft.commands.client import ServiceClient
from undercroft.commands.ingest import ingest_paths
from undercroft.commands.keys import create_key
from undercroft.kit.settings import Settings

SAMPLES = Path(__file__).parents[1] / "samples"


@asynccontextmanager
async def running_service() -> AsyncGenerator[tuple[str, str]]:
    """A service's address and a key."""
    with tempfile.TemporaryDirectory(prefix="undercroft-bench-") as folder:
        data_dir, log_path = Path(folder) / "data", Path(folder) / "serve.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "undercroft", "serve"),
                    *("--port", "0", "--data-dir", str(data_dir)),
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "UNDERCROFT_LOG_LEVEL": "info"},
            )
        try:
            url = await _wait_until_ready(process, log_path)
            key = await create_key(
                Settings(data_dir=data_dir), "bench", "bench@example.org", None, None
            )
            yield url, key
        finally:
            process.terminate()
            process.wait(timeout=60)


async def ingest_samples(client: ServiceClient) -> str:
    """Load the sample documents; the vector store's id."""
    return await ingest_paths(
        client, "samples", [SAMPLES / "documents"], Console(file=sys.stderr, quiet=True)
    )


async def _wait_until_ready(process: "subprocess.Popen[bytes]", log_path: Path) -> str:
    async with aiohttp.ClientSession() as session, asyncio.timeout(120):
        while True:
            assert process.poll() is None, log_path.read_text()
            for line in log_path.read_text().splitlines():
                if '"event": "serving"' in line:
                    url = str(json.loads(line)["url"])
                    try:
                        async with session.get(f"{url}/readyz") as answer:
                            if answer.status == 200:
                                return url
                    except aiohttp.ClientError:
                        continue
            await asyncio.sleep(0.1)
