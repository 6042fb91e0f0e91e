"""The Responses API over a WebSocket: many responses on one socket, several at once, each with its events in order.

A response here is what it is over HTTP: the same checks at the instant of use, the same log of its events, the same cut
when something that it rests on ends. A socket that closes is a watcher that leaves each response it was shown.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack, aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol, cast

from fastapi import APIRouter
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect

from undercroft.http.deps import read_purpose, require_permission
from undercroft.http.errors import explain, render_error
from undercroft.http.idempotency import message_key
from undercroft.http.middleware import Places
from undercroft.http.openai.asking import as_wanted, events_of
from undercroft.http.openai.open_sockets import OpenSockets
from undercroft.http.openai.socket_messages import (
    IDLE,
    IDLE_MINUTES,
    LONGEST_MINUTES,
    MOST_ASKED,
    MOST_LANES,
    MOST_RUNNING,
    RESTARTING,
    TOKEN_ENDED,
    TOO_OLD,
    Asked,
    Ending,
    LaneLimitError,
    SocketQueueFullError,
    encode,
    read_asked,
    read_lane,
    read_message,
    tell,
)
from undercroft.http.origins import require_known_origin
from undercroft.http.services import Services
from undercroft.http.socket_protocol import DRAINING
from undercroft.identity.errors import MissingKeyError, UnauthenticatedError
from undercroft.identity.models import Permission, Principal

router = APIRouter(tags=["responses"])

PATH: Final = "/v1/responses"
_GOODBYE_SECONDS: Final = 5.0


@router.websocket(PATH)
async def connect(websocket: WebSocket) -> None:
    """Open a socket on which responses are asked for; refused over HTTP, as a request would be."""
    services = cast("Services", websocket.app.state.services)
    sockets = cast("OpenSockets", websocket.app.state.open_sockets)
    with ExitStack() as admission:
        try:
            opener = _Opener(services, websocket)
            caller = await opener.authenticate()
            admission.enter_context(sockets.admit(caller))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is answered as over HTTP, and logged if it is ours
            refusal = render_error(PATH, explain(error, PATH))
            await refusal(websocket.scope, websocket.receive, websocket.send)
            return
        await ResponseSocket(websocket, services, opener).serve()


class _Opener:
    """Whoever opened a socket, known anew at each use of it.

    Raises:
        MissingKeyError: When they show no credential.
        UndercroftError: When a page of an origin that is not allowed opens it, or the purpose is no code.
    """

    def __init__(self, services: Services, connection: HTTPConnection) -> None:
        self._services = services
        require_known_origin(connection, services.settings.cors_origins)
        given = connection.headers.get("Authorization")
        scheme, self.secret = get_authorization_scheme_param(given)
        if scheme.lower() != "bearer" or not self.secret:
            raise MissingKeyError
        self._purpose = read_purpose(connection)

    async def authenticate(self) -> Principal:
        """Who they are now, and that they may ask for responses.

        Raises:
            UnauthenticatedError: When the credential is good no more.
            ForbiddenError: When they may not, which is put on record.
        """
        known = await self._services.people.identity.authenticate(self.secret)
        caller = replace(known, purpose=self._purpose)
        await require_permission(self._services, caller, Permission.RESPONSES_WRITE)
        return caller


class _Timer(Protocol):
    def cancel(self) -> None: ...


class ResponseSocket:
    """One socket, from its first message to its last.

    Args:
        websocket: Not accepted yet.
        services: Make responses.
        opener: Who asks for them.
        call_later: Calls something after so many seconds; by default the event loop does.
    """

    def __init__(
        self,
        websocket: WebSocket,
        services: Services,
        opener: _Opener,
        call_later: Callable[[float, Callable[[], None]], _Timer] | None = None,
    ) -> None:
        self._websocket = websocket
        self._services = services
        self._opener = opener
        self._places = cast("Places", websocket.app.state.places)
        self._turns: dict[str | None, asyncio.Lock] = {None: asyncio.Lock()}
        self._room = asyncio.Semaphore(MOST_RUNNING)
        self._answering: set[asyncio.Task[None]] = set()
        self._waiting: list[int] = []
        loop = asyncio.get_running_loop()
        self._last_call: asyncio.Future[Ending] = loop.create_future()
        self._cut: asyncio.Future[Ending] = loop.create_future()
        self._call_later = call_later or loop.call_later
        self._idling: _Timer | None = None

    async def serve(self) -> None:
        """Answer until the client leaves, or has to."""
        await self._websocket.accept()
        reading = asyncio.ensure_future(self._read())
        draining = asyncio.ensure_future(self._wait_for_restart())
        timer = self._call_later(LONGEST_MINUTES * 60, partial(_settle, self._last_call, TOO_OLD))
        self._rest()
        end = partial(_settle, self._cut, TOKEN_ENDED)
        try:
            with self._services.people.watched_credentials.register(self._opener.secret, end):
                ending = await self._until_end(reading)
                await _cancel(*self._answering)
                if ending is not None and not reading.done():
                    await self._say_goodbye(ending)
        finally:
            timer.cancel()
            await _cancel(reading, draining, *self._answering)
            self._stop_resting()

    async def _until_end(self, reading: asyncio.Future[None]) -> Ending | None:
        """Why the service ends it; None where the client has left."""
        await _first(reading, self._cut, self._last_call)
        if self._last_call.done() and not (reading.done() or self._cut.done()):
            telling = asyncio.ensure_future(self._settle_answers(self._last_call.result()))
            try:
                await _first(reading, self._cut, telling)
            finally:
                await _cancel(telling)
        if self._cut.done():
            return self._cut.result()
        return None if reading.done() else self._last_call.result()

    async def _settle_answers(self, ending: Ending) -> None:
        """What runs goes on to its end; what has not begun was told that it does not."""
        await self._send(tell(ending.error), None)
        while self._answering:
            await asyncio.wait(self._answering)

    async def _say_goodbye(self, ending: Ending) -> None:
        """Whoever reads nothing is not waited for."""
        with suppress(WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                if ending is TOKEN_ENDED:
                    await self._send(tell(ending.error), None)
                await self._websocket.close(ending.code, ending.error.code)

    async def _wait_for_restart(self) -> None:
        draining: asyncio.Event | None = self._websocket.scope.get("state", {}).get(DRAINING)
        if draining is not None:
            await draining.wait()
            _settle(self._last_call, RESTARTING)

    async def _read(self) -> None:
        """Take messages until the client has left."""
        with suppress(WebSocketDisconnect):
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._take(message.get("text"))

    async def _take(self, text: str | None) -> None:
        lane: str | None = None
        try:
            message = await read_message(text)
            lane = read_lane(message)
            self._begin(read_asked(message, lane, len(text or "")))
        except Exception as error:  # noqa: BLE001 - whatever failed is told, and logged if it is ours: the socket goes on
            await self._send(tell(explain(error, PATH)), lane)

    def _begin(self, asked: Asked) -> None:
        """Have it answered in its turn.

        Raises:
            UndercroftError: When the socket takes no more.
        """
        if self._last_call.done():
            raise self._last_call.result().error
        if asked.lane not in self._turns:
            if len(self._turns) > MOST_LANES:
                raise LaneLimitError
            self._turns[asked.lane] = asyncio.Lock()
        largest = self._services.settings.max_body_bytes
        if len(self._answering) >= MOST_ASKED or sum(self._waiting) + asked.size > largest:
            raise SocketQueueFullError
        self._waiting.append(asked.size)
        task = asyncio.create_task(self._answer(asked))
        self._answering.add(task)
        task.add_done_callback(self._end_answer)
        self._stop_resting()

    def _end_answer(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not self._answering:
            self._rest()

    def _rest(self) -> None:
        """Nothing is asked for: expect that something will be."""
        self._stop_resting()
        if not (self._last_call.done() or self._cut.done()):
            idle = partial(_settle, self._last_call, IDLE)
            self._idling = self._call_later(IDLE_MINUTES * 60, idle)

    def _stop_resting(self) -> None:
        if self._idling is not None:
            self._idling.cancel()
            self._idling = None

    async def _answer(self, asked: Asked) -> None:
        begun = False
        try:
            async with self._turns[asked.lane], self._room:
                self._waiting.remove(asked.size)
                begun = True
                await self._show(asked)
        except WebSocketDisconnect:
            return
        except UnauthenticatedError:
            _settle(self._cut, TOKEN_ENDED)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task: whatever failed is told, and logged if it is ours
            with suppress(WebSocketDisconnect):
                await self._send(tell(explain(error, PATH)), asked.lane)
        finally:
            if not begun:
                self._waiting.remove(asked.size)

    async def _show(self, asked: Asked) -> None:
        """All that a response comes to. It is made no faster than the client reads, or read again from the log."""
        if self._last_call.done():
            raise self._last_call.result().error
        caller = await self._opener.authenticate()
        key = None
        if asked.key is not None:
            key = await message_key(f"POST {PATH}", asked.key, asked.body, caller)
        wanted = await as_wanted(self._services, caller, asked.as_create(), has_key=key is not None)
        with self._places.take(), self._services.telemetry.open_streams.track_inprogress():
            async with aclosing(events_of(self._services, caller, wanted, key)) as events:
                async for event in events:
                    await self._send(event, asked.lane)

    async def _send(self, event: Mapping[str, Any], lane: str | None) -> None:
        await self._websocket.send_text(encode(event, lane))


def _settle(future: asyncio.Future[Ending], ending: Ending) -> None:
    if not future.done():
        future.set_result(ending)


async def _first(*waited: asyncio.Future[Any]) -> None:
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
