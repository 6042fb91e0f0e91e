"""Work for a client that left is not done."""

import asyncio

import pytest
from fastapi import Request

from tests.http.asgi import Connection, scope
from undercroft.http.disconnect import unless_disconnected
from undercroft.kit.errors import UndercroftError


def request_of(connection: Connection) -> Request:
    return Request(scope(), connection.receive, connection.send)


async def test_the_result_is_handed_on() -> None:
    async def work() -> int:
        return 7

    assert await unless_disconnected(request_of(Connection()), work()) == 7


async def test_an_error_is_handed_on() -> None:
    async def work() -> int:
        raise KeyError("seven")

    with pytest.raises(KeyError):
        await unless_disconnected(request_of(Connection()), work())


async def test_a_client_that_leaves_cancels_the_work() -> None:
    connection, ended = Connection(), asyncio.Event()

    async def work() -> None:
        connection.left.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(UndercroftError) as left:
        await unless_disconnected(request_of(connection), work())
    assert left.value.code == "client_left"
    assert ended.is_set()


async def test_a_server_that_stops_cancels_the_work() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(unless_disconnected(request_of(Connection()), work()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
