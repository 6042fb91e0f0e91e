"""Invariant 10: nothing computes or blocks on the event loop while documents are indexed and answers stream.

The API and a worker run here on one instrumented loop, which is harder than in production, where each has its own. The
loop thread's processor time is counted for every callback (a busy machine does not change it), and blocking calls from
our code raise. The clients are threads.
"""

import asyncio
import gc
import io
import socket
import time
from asyncio import events
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from blockbuster import blockbuster_ctx
from openai import OpenAI

from tests.e2e.conftest import SAMPLES
from undercroft.commands.databases import bring_up_to_date
from undercroft.commands.worker.wiring import open_worker
from undercroft.http.app import create_application
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger

_LONGEST_CALLBACK_SECONDS: Final = 0.05
_NAMES: Final = (
    "home/tenancy-agreement-quay-street.pdf",
    "home/tenancy-agreement-hazel-court.pdf",
    "home/home-insurance-policy-2025.pdf",
    "home/inventory-check-in-hazel-court.docx",
    "home/energy-bills-2024.csv",
    "home/broadband-faq.html",
)


@dataclass
class CallbackTimes:
    """Processor seconds of the loop's thread, callback by callback."""

    longest: float = 0.0
    culprit: str = ""
    count: int = 0

    def record(self, seconds: float, handle: object) -> None:
        self.count += 1
        if seconds > self.longest:
            self.longest, self.culprit = seconds, repr(handle)


@contextmanager
def measured_callbacks() -> Generator[CallbackTimes]:
    """Count what each callback of the running loop costs."""
    times = CallbackTimes()
    # What a process that runs tests holds, a service does not: no callback is charged with looking through it.
    gc.collect()
    gc.freeze()
    run = events.Handle._run

    def measured(self: events.Handle) -> None:
        started = time.thread_time()
        run(self)
        times.record(time.thread_time() - started, self)

    events.Handle._run = measured  # type: ignore[method-assign]
    try:
        yield times
    finally:
        events.Handle._run = run  # type: ignore[method-assign]
        gc.unfreeze()


@dataclass(frozen=True, slots=True)
class LocalService:
    url: str
    key: str


@pytest.fixture
async def local_service(
    database_urls: DatabaseUrls, tmp_path: Path
) -> AsyncGenerator[LocalService]:
    """The API and a worker on this test's own loop."""
    settings = Settings(data_dir=tmp_path)
    await bring_up_to_date(database_urls, settings)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(database_urls.service, clock=SystemClock(), size=2)
        )
        ids, clock = IdSource(), SystemClock()
        identity = IdentityService(database, Ledger(database, ids, clock), ids, clock)
        key = (await identity.issue_key("loop", "ann@example.org")).secret

        worker = await open_worker(stack, settings, database_urls.service)
        working = asyncio.create_task(worker.run())

        async def check_worker() -> str | None:
            return None

        listener = socket.create_server(("127.0.0.1", 0))
        application = create_application(settings, database_urls.service, check_worker)
        server = uvicorn.Server(uvicorn.Config(application, log_config=None, lifespan="on"))
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.01)
        yield LocalService(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
        server.should_exit = True
        await serving
        await worker.stop()
        await working


async def test_indexing_and_streaming_leave_the_loop_alone(local_service: LocalService) -> None:
    with measured_callbacks() as times, blockbuster_ctx("undercroft") as watch:
        # The measurement of coverage has a lock of its own, which threads share.
        watch.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
        store_id = await asyncio.to_thread(_index_and_ask, local_service)
    assert store_id
    assert times.count > 1000
    assert times.longest < _LONGEST_CALLBACK_SECONDS, times.culprit


async def test_the_measurement_sees_a_callback_that_computes() -> None:
    def compute() -> None:
        started = time.thread_time()
        while time.thread_time() - started < _LONGEST_CALLBACK_SECONDS:
            pass

    with measured_callbacks() as times:
        asyncio.get_running_loop().call_soon(compute)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert times.longest >= _LONGEST_CALLBACK_SECONDS
    assert "compute" in times.culprit


def _index_and_ask(service: LocalService) -> str:
    tool: dict[str, Any] = {"type": "file_search", "max_num_results": 2}
    with OpenAI(base_url=f"{service.url}/v1", api_key=service.key, max_retries=0) as client:
        store = client.vector_stores.create(name="loop")
        tool["vector_store_ids"] = [store.id]
        files = [
            client.files.create(
                file=(Path(name).name, io.BytesIO((SAMPLES / name).read_bytes())),
                purpose="user_data",
            )
            for name in _NAMES
        ]
        for file in files:
            client.vector_stores.files.create(vector_store_id=store.id, file_id=file.id)
        _ask(client, tool, "smollm2-135m-instruct")
        for file in files:
            _ask(client, tool, "extractive")
            member = client.vector_stores.files.poll(vector_store_id=store.id, file_id=file.id)
            assert member.status == "completed"
        return store.id


def _ask(client: OpenAI, tool: dict[str, Any], model: str) -> None:
    tools: Any = [tool]
    stream = client.responses.create(
        model=model,
        input="How much is the deposit for Quay Street?",
        tools=tools,
        max_output_tokens=16,
        stream=True,
    )
    assert list(stream)[-1].type in {"response.completed", "response.incomplete"}
