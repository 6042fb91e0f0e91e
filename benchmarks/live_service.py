"""A real service in processes of its own on an empty folder, and a client that measures its answers."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from undercroft.commands.client import ServiceClient
from undercroft.commands.ingest import ingest_paths
from undercroft.commands.keys import create_key
from undercroft.kit.settings import Settings, load_settings

SAMPLES: Final = Path(__file__).parents[1] / "samples"
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class LiveService:
    """A running service.

    Attributes:
        url: Without ``/v1``.
        settings: Those it runs with.
        process_id: Of the process that has started all its others.
    """

    url: str
    settings: Settings
    process_id: int

    async def make_key(self, tenant: str) -> str:
        """A key of a new tenant's only user; tenants share nothing, so each has to index everything itself."""
        return await create_key(self.settings, tenant, f"{tenant}@example.org", None, None)

    async def ingest_samples(self, key: str) -> str:
        """Upload the sample corpus, wait until it can be searched; the vector store's id."""
        console = Console(stderr=True, quiet=True)
        async with ServiceClient(self.url, key) as client:
            return await ingest_paths(client, "samples", [SAMPLES / "documents"], console)

    def open_session(self, key: str) -> aiohttp.ClientSession:
        """An HTTP client with a key, for paths below the service's address."""
        return aiohttp.ClientSession(
            self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            raise_for_status=True,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A streamed answer.

    Attributes:
        citations: Its ``file_citation`` annotations.
        first_text_seconds: From the request to the first text.
        seconds: From the request to the end of the stream.
    """

    text: str
    citations: tuple[dict[str, Any], ...]
    first_text_seconds: float
    seconds: float


@asynccontextmanager
async def running_service(
    program: Sequence[str] = ("-m", "undercroft"), data_dir: Path | None = None
) -> AsyncGenerator[LiveService]:
    """A service that is ready, on a free port; it and its data are gone afterwards.

    Args:
        program: What Python is to run: the command line, or what stands in for it.
        data_dir: A folder whose data there may be already, and which stays.
    """
    with tempfile.TemporaryDirectory(prefix="undercroft-bench-") as folder:
        settings = load_settings(data_dir=data_dir or Path(folder) / "data")
        log_path = Path(folder) / "serve.log"
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *program, "serve", "--with-parent"),
                *("--port", "0", "--data-dir", str(settings.data_dir)),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(os.environ),
            )
        try:
            url = await _wait_until_ready(process, log_path)
            yield LiveService(url, settings, process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()


async def ask(session: aiohttp.ClientSession, store_id: str, question: str, model: str) -> Answer:
    """Ask through ``POST /v1/responses`` and read the stream to its end."""
    body = {
        "model": model,
        "input": question,
        "stream": True,
        "tools": [{"type": "file_search", "vector_store_ids": [store_id]}],
    }
    pieces: list[str] = []
    citations: list[dict[str, Any]] = []
    first: float | None = None
    started = time.perf_counter()
    async with session.post("/v1/responses", json=body) as response:
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event["type"] == "response.output_text.delta":
                first = first or time.perf_counter() - started
                pieces.append(event["delta"])
            elif event["type"] == "response.output_text.annotation.added":
                citations.append(event["annotation"])
            elif event["type"] == "response.failed":
                raise RuntimeError(f"{question}: {event['response']['error']['message']}")
    seconds = time.perf_counter() - started
    return Answer("".join(pieces), tuple(citations), first or seconds, seconds)


def sample_questions() -> list[dict[str, Any]]:
    """The questions to the sample corpus, with what a right answer holds and where it stands."""
    lines = (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


async def _wait_until_ready(process: asyncio.subprocess.Process, log_path: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline and process.returncode is None:
            url = _address(log_path)
            if url is not None:
                # Bound is not yet listening: until the worker is up connections are refused.
                with suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"{url}/readyz") as response:
                        if response.status == 200:
                            return url
            await asyncio.sleep(_POLL_SECONDS)
    raise RuntimeError(f"The service did not start:\n{log_path.read_text()[-4000:]}")


def _address(log_path: Path) -> str | None:
    """Where it will listen, once it has said so."""
    for line in log_path.read_bytes().splitlines(keepends=True):
        if b'"event": "serving"' in line and line.endswith(b"\n"):
            return str(json.loads(line)["url"])
    return None
