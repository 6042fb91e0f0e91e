"""The server that the application runs in, on loopback."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import uvicorn
from starlette.types import ASGIApp

from undercroft.http.protocol import BoundedProtocol
from undercroft.http.socket_protocol import BoundedSocket

LARGEST_MESSAGE: Final = 1024 * 1024
Connect: TypeAlias = Callable[
    [], Coroutine[None, None, tuple[asyncio.StreamReader, asyncio.StreamWriter]]
]


@asynccontextmanager
async def serving(application: ASGIApp) -> AsyncGenerator[Connect]:
    """A server of an application."""
    config = uvicorn.Config(
        application,
        http=BoundedProtocol,
        ws=BoundedSocket,
        ws_max_size=LARGEST_MESSAGE,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    config.load()
    state = uvicorn.Server(config).server_state
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    async with server, _closing() as writers:

        async def open_connection() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            return reader, writer

        yield open_connection


@asynccontextmanager
async def _closing() -> AsyncGenerator[list[asyncio.StreamWriter]]:
    writers: list[asyncio.StreamWriter] = []
    yield writers
    for writer in writers:
        writer.close()
