"""Work that is only worth doing while its client is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from fastapi import Request
from starlette.types import Receive

from undercroft.kit.errors import ErrorKind, UndercroftError

_MOST_DROPPED: Final = 1024 * 1024
"""Bytes that are read and dropped of a client that sends more than its request."""

_Result = TypeVar("_Result")


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run ``work``, and cancel it when the client leaves before it is done.

    The body of the request must have been read.

    Raises:
        UndercroftError: When the client left; nobody reads it but the log.
    """
    worker = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(wait_for_disconnect(request.receive))
    try:
        await asyncio.wait({worker, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            return worker.result()
        raise UndercroftError("The client left.", kind=ErrorKind.TIMED_OUT, code="client_left")
    finally:
        for task in (worker, watcher):
            task.cancel()
        await asyncio.gather(worker, watcher, return_exceptions=True)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has left. What it still sends is read and dropped; one that sends much of it has left."""
    dropped = 0
    while dropped <= _MOST_DROPPED:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        dropped += len(message.get("body", b""))
