"""``undercroft serve``: the API, a worker and, unless one is configured, the database, in one process tree.

    serve (this process: the API)
    ├── undercroft worker
    └── postgres

Ctrl-C and SIGTERM stop them in that order, the database last. After ``kill -9`` the worker notices that its parent is
gone and stops; the database goes on, and the next start takes it over.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from undercroft.commands.databases import database_pool, open_own_database
from undercroft.commands.parent import READY_LINE, stop_with_parent
from undercroft.commands.spaces import require_models
from undercroft.http.app import create_application
from undercroft.http.protocol import BoundedProtocol
from undercroft.http.socket_protocol import PING_SECONDS, PONG_SECONDS, BoundedSocket
from undercroft.kit.settings import Settings
from undercroft.retrieval.minilm.files import locate_minilm

_BACKLOG: Final = 8192
"""Uvicorn's default of 2,048 drops connections when thousands of streams open at once."""
_DRAIN_SECONDS: Final = 10
_CUT_OFF_SECONDS: Final = 5.0
_WORKER_STOP_SECONDS: Final = 30.0
_RESTART_SECONDS: Final = 1.0
_YOUNG_OBJECTS: Final = 10_000
"""So many new objects are looked through at once. Python's own 700 are those of a few words of a stream."""

_log = structlog.stdlib.get_logger(__name__)


async def serve(settings: Settings, *, belongs_to_parent: bool) -> None:
    """Serve until told to stop.

    Args:
        settings: The service's settings.
        belongs_to_parent: Whether to stop when standard input ends.

    Raises:
        MinilmUnavailableError: When the built-in embedding model was not prepared.
        PreflightError: When the external database cannot be used as it is.
        PostgresStartError: When the embedded server cannot be started.
        MigrationError: When the embedded database cannot be migrated.
        OSError: When the port is taken.
    """
    if settings.embedding_url is None:
        await asyncio.to_thread(locate_minilm, settings.models_dir)
    listener = _listen(settings)
    stop = _StopRequest()
    stop.install()
    watcher = await stop_with_parent(stop.request) if belongs_to_parent else None
    try:
        with listener:
            async with (
                open_own_database(settings) as database_url,
                _checked_models(settings, database_url),
                _running_worker(settings) as worker,
            ):
                application = create_application(settings, database_url, worker.describe)
                async with application.router.lifespan_context(application):
                    server = _Server(_uvicorn_config(settings, application))
                    stop.hand_over(server)
                    _settle_heap()
                    _announce(listener)
                    await server.serve(sockets=[listener])
                    await server.end_requests()
    except asyncio.CancelledError:
        if not stop.requested:
            raise
    finally:
        if watcher is not None:
            watcher.cancel()


def _listen(settings: Settings) -> socket.socket:
    """Bind before anything is started: a taken port should cost nothing."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Choose another with --port, or a free one with --port 0."
        ) from error
    listener.set_inheritable(False)
    return listener


def _settle_heap() -> None:
    """Take what the start has made out of every later garbage collection: it lives as long as the process.

    Looking at all of it (models, routes, statements) held up every stream for a quarter of a second, now and then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _announce(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    _log.info("serving", url=f"http://{name}:{port}")


def _uvicorn_config(settings: Settings, application: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        backlog=_BACKLOG,
        http=BoundedProtocol,
        ws=BoundedSocket,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        # As of streams: compressed beside what others chose, a secret's length tells what it is.
        ws_per_message_deflate=False,
        # Uvicorn would close the services under the requests that it has just cut off.
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: it would raise the signal again while the database is being stopped."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def end_requests(self) -> None:
        """Let the requests that were cut off record it: a kept response must not look as if it were still made."""
        requests = set(self.server_state.tasks)
        if not requests:
            return
        if self.force_exit:
            for request in requests:
                request.cancel()
        await asyncio.wait(requests, timeout=_CUT_OFF_SECONDS)


class _StopRequest:
    """What SIGINT and SIGTERM do: stop what is starting, or have the server drain; a second one does not wait."""

    def __init__(self) -> None:
        self.requested = False
        self._task = asyncio.current_task()
        self._server: _Server | None = None

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request)

    def hand_over(self, server: _Server) -> None:
        """From now on the server stops itself."""
        self._server = server

    def request(self) -> None:
        """Stop; asked again, without waiting for open streams."""
        if self._server is not None:
            self._server.force_exit = self.requested
            self._server.should_exit = True
        elif self._task is not None and not self.requested:
            self._task.cancel()
        self.requested = True


class _Worker:
    """The worker's process, started again whenever it ends by itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_ready = False

    async def describe(self) -> str | None:
        """None while the worker takes jobs, else what it is doing."""
        return None if self._is_ready else "the worker is starting"

    async def keep_running(self) -> None:
        """Run workers one after the other until cancelled."""
        while True:
            try:
                code = await self._run_one()
            except OSError as error:  # no memory or no process is left; that passes
                _log.error("worker_not_started", reason=str(error))
            else:
                _log.error("worker_ended", exit_code=code)
            await asyncio.sleep(_RESTART_SECONDS)

    async def _run_one(self) -> int:
        process = await self._start()
        try:
            line = await self._read_line(process)
            self._is_ready = line.strip() == READY_LINE.encode()
            return await process.wait()
        finally:
            self._is_ready = False
            await asyncio.shield(_end(process))

    async def _start(self) -> asyncio.subprocess.Process:
        arguments = ("worker", "--data-dir", str(self._settings.data_dir), "--with-parent")
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "undercroft",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Out of reach of the terminal's Ctrl-C: this process decides the order of the shutdown.
            start_new_session=True,
        )

    async def _read_line(self, process: asyncio.subprocess.Process) -> bytes:
        if process.stdout is None:
            raise RuntimeError("the worker was started without a pipe")
        return await process.stdout.readline()


@asynccontextmanager
async def _running_worker(settings: Settings) -> AsyncGenerator[_Worker]:
    worker = _Worker(settings)
    task = asyncio.create_task(worker.keep_running())
    try:
        yield worker
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _checked_models(settings: Settings, url: str) -> AsyncGenerator[None]:
    async with database_pool(settings, url, 1) as database:
        await require_models(settings, database)
    yield


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_WORKER_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
