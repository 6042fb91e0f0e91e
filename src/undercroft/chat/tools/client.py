"""Asks servers of the Model Context Protocol over streamable HTTP, and reaches none that the policy does not admit.

Each question is a session of its own: nothing outlives it, and what the policy says is asked at every connection. The
server's own questions are not answered; nothing is offered to it.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final, cast

import aiohttp

from undercroft.chat.providers.event_stream import EventStreamReader, EventTooLargeError
from undercroft.chat.tools.errors import ToolServerError
from undercroft.chat.tools.models import Outcome, RemoteServer, RemoteTool
from undercroft.chat.tools.secrets import Secrets
from undercroft.chat.tools.wire import (
    CallResult,
    Initialized,
    JsonObject,
    RefusedError,
    ToolsPage,
    TooManyValuesError,
    UnreadableError,
    count_values,
    encode_request,
    hello,
    read_answer,
    read_result,
)
from undercroft.kit.egress import ResponseTooLargeError, read_bounded
from undercroft.kit.egress_policy import EgressPolicy, EgressRefusedError
from undercroft.kit.errors import InvalidRequestError

LIST_SECONDS: Final = 20.0
CALL_SECONDS: Final = 60.0
LARGEST_ANSWER: Final = 524_288
"""Bytes of all that a server says to one question: the pages of a list are one answer."""
_MOST_PAGES: Final = 16
_MOST_TOOLS: Final = 128
_MOST_VALUES: Final = 20_000
"""Values in all that a server's tools are described with, as in a request's body: each is copied more than once."""
_END_SECONDS: Final = 2.0


class ToolClient:
    """Lists and calls tools.

    Args:
        client: A guarded one.
        policy: What it admits: asked before anything is promised, too.
        call_seconds: How long a call may take.
    """

    def __init__(
        self,
        client: aiohttp.ClientSession,
        policy: EgressPolicy,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._client = client
        self._policy = policy
        self._call_seconds = call_seconds

    def check(self, server: RemoteServer) -> None:
        """Find out, before anything is promised, whether a server may be asked at all.

        Raises:
            InvalidRequestError: When it may not.
        """
        try:
            self._policy.check_url(server.url)
        except EgressRefusedError as error:
            raise _refused(server, error) from None

    async def list_tools(self, server: RemoteServer) -> list[RemoteTool]:
        """The tools of a server that are offered.

        Raises:
            ToolServerError: When it does not say, or has more than may be offered.
            InvalidRequestError: When it may not be asked.
        """
        tools: list[RemoteTool] = []
        secrets, room = Secrets(server), _MOST_VALUES
        async with _told(server, LIST_SECONDS), self._session(server) as session:
            cursor: str | None = None
            for _ in range(_MOST_PAGES):
                page = read_result(
                    await session.ask("tools/list", {"cursor": cursor} if cursor else None),
                    ToolsPage,
                )
                offered = [tool for tool in page.as_tools() if server.offers(tool.name)]
                if len(tools) + len(offered) > _MOST_TOOLS:
                    raise _too_many(server)
                for tool in offered:
                    room = count_values(tool.input_schema, room)
                    room = count_values(tool.annotations, room)
                # It goes through every text there is: not on the event loop.
                tools += await asyncio.to_thread(secrets.left_out_of_tools, offered)
                cursor = page.next_cursor
                if cursor is None:
                    return tools
            raise _too_many(server)

    async def call(
        self,
        server: RemoteServer,
        tool: str,
        arguments: Mapping[str, Any],
        permit: Callable[[], Awaitable[None]],
    ) -> Outcome:
        """Call a tool.

        Args:
            server: Whose it is.
            tool: The tool.
            arguments: Of the call.
            permit: Awaited when nothing is left but to send them; what it raises is raised, and nothing sent.

        Raises:
            ToolServerError: When nothing is known of what came of it.
            InvalidRequestError: When the server may not be asked.
        """
        async with _told(server, self._call_seconds), self._session(server) as session:
            await permit()
            try:
                result = await session.ask("tools/call", {"name": tool, "arguments": arguments})
            except RefusedError as error:
                outcome = Outcome(error=str(error))
            else:
                outcome = read_result(result, CallResult).as_outcome()
            return Secrets(server).left_out_of_outcome(outcome)

    @asynccontextmanager
    async def _session(self, server: RemoteServer) -> AsyncGenerator["_Session"]:
        session = _Session(self._client, server)
        await session.begin()
        yield session
        # Not of one that failed or was cancelled: it ends by itself, and nobody is kept waiting for it.
        await session.end()


class _Session:
    """One conversation with a server."""

    def __init__(self, client: aiohttp.ClientSession, server: RemoteServer) -> None:
        self._client = client
        self._server = server
        self._numbers = count(1)
        self._headers = {
            **server.headers,
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "User-Agent": "Undercroft",
        }
        self._is_kept = False
        self._left = LARGEST_ANSWER

    async def begin(self) -> None:
        """The handshake."""
        started = read_result(await self.ask("initialize", hello()), Initialized)
        if not started.is_spoken():
            raise UnreadableError
        self._headers["MCP-Protocol-Version"] = started.protocol
        await self._send(None, "notifications/initialized", None)

    async def end(self) -> None:
        """Tell a server that keeps sessions that this one is over; whatever it says to that."""
        if not self._is_kept:
            return
        try:
            async with self._client.delete(
                self._server.url,
                headers=self._headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_END_SECONDS),
            ):
                pass
        except (aiohttp.ClientError, OSError, ValueError, EgressRefusedError):
            # What was asked is answered; a session that nobody uses ends by itself.
            pass

    async def ask(self, method: str, params: Mapping[str, Any] | None) -> JsonObject:
        """The result of a request.

        Raises:
            RefusedError: When the server answers with an error.
            UnreadableError: When it does not answer as the protocol has it.
        """
        number = next(self._numbers)
        result = await self._send(number, method, params)
        if result is None:
            raise UnreadableError
        return result

    async def _send(
        self, number: int | None, method: str, params: Mapping[str, Any] | None
    ) -> JsonObject | None:
        async with self._client.post(
            self._server.url,
            data=encode_request(number, method, params),
            headers=self._headers,
            allow_redirects=False,
        ) as response:
            if not 200 <= response.status < 300:
                raise RefusedStatusError(response.status)
            self._keep_session(response)
            if number is None:
                return None
            if response.content_type == "text/event-stream":
                return await self._read_stream(response, number)
            body = await read_bounded(response, self._left)
            self._left -= len(body)
            return read_answer(body, number)

    async def _read_stream(
        self, response: aiohttp.ClientResponse, number: int
    ) -> JsonObject | None:
        """The answer among what a server sends in a stream; what else it sends is left unread."""
        reader = EventStreamReader(LARGEST_ANSWER)
        async for piece in response.content.iter_any():
            self._left -= len(piece)
            if self._left < 0:
                raise ResponseTooLargeError
            for event in reader.feed(piece):
                result = read_answer(event, number)
                if result is not None:
                    return result
        return None

    def _keep_session(self, response: aiohttp.ClientResponse) -> None:
        session_id = response.headers.get("Mcp-Session-Id")
        if session_id is not None and not self._is_kept:
            self._is_kept = True
            self._headers["Mcp-Session-Id"] = session_id


class RefusedStatusError(Exception):
    """A server answered with a status that is no answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered with status {status}")


@asynccontextmanager
async def _told(server: RemoteServer, seconds: float) -> AsyncGenerator[None]:
    """Bounds what is asked of a server, and names what goes wrong. Nothing is told of causes that holds its URL."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except EgressRefusedError as error:
        raise _refused(server, error) from None
    except TimeoutError:
        raise ToolServerError(server.label, "did not answer in time") from None
    except (ResponseTooLargeError, EventTooLargeError):
        raise ToolServerError(
            server.label, f"answered with more than {LARGEST_ANSWER:,} bytes"
        ) from None
    except RefusedStatusError as error:
        raise ToolServerError(server.label, str(error)) from None
    except RefusedError as error:
        told = Secrets(server).left_out(str(error))
        raise ToolServerError(server.label, f"refused: {told}") from None
    except TooManyValuesError:
        raise ToolServerError(
            server.label, "describes its tools at too great length: name some in 'allowed_tools'"
        ) from None
    except (aiohttp.ClientSSLError, ssl.SSLError):
        raise ToolServerError(server.label, "has no valid certificate") from None
    except (aiohttp.ClientConnectionError, OSError):
        raise ToolServerError(server.label, "cannot be reached") from None
    except (UnreadableError, aiohttp.ClientError, ValueError):
        # ValueError: what aiohttp raises for an answer whose status or headers are no numbers or names.
        raise ToolServerError(server.label, "does not speak the Model Context Protocol") from None


def _refused(server: RemoteServer, error: EgressRefusedError) -> InvalidRequestError:
    return InvalidRequestError(
        f"The tool server '{server.label}' cannot be asked. {error.message}",
        param="tools",
        code=error.code,
    )


def _too_many(server: RemoteServer) -> ToolServerError:
    return ToolServerError(
        server.label, f"has more than {_MOST_TOOLS} tools: name some in 'allowed_tools'"
    )


def read_arguments(text: str) -> dict[str, Any] | None:
    """The arguments of a call; None where they are no JSON object."""
    try:
        read = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", read) if isinstance(read, dict) else None
