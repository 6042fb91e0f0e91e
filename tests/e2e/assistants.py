"""Assistants: the official SDK's client, as people connect it to the service."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2 as httpx
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

MODES: Final = {"2025-11-25": "legacy", "2026-07-28": "2026-07-28"}
"""How the client is made to speak each revision of the protocol."""
LATEST: Final = "2026-07-28"
PING: Final[dict[str, Any]] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@asynccontextmanager
async def assistant(
    url: str, key: str, revision: str = LATEST, headers: Mapping[str, str] | None = None
) -> AsyncGenerator[Client]:
    """An assistant of whoever has the key."""
    sent = {"Authorization": f"Bearer {key}", **(headers or {})}
    async with (
        httpx.AsyncClient(headers=sent, timeout=60) as http,
        Client(
            streamable_http_client(f"{url}/mcp", http_client=http), mode=MODES[revision]
        ) as client,
    ):
        assert client.protocol_version == revision
        yield client


def read_result(result: CallToolResult) -> dict[str, Any]:
    """What a tool answered; the SDK has held it to the tool's schema."""
    assert not result.is_error, result
    shown: dict[str, Any] = result.structured_content
    return shown


def read_refusal(result: CallToolResult) -> tuple[str, str]:
    """The code and the words by which a tool refused."""
    assert result.is_error, result
    assert result.structured_content is None
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert result.meta is not None
    return str(result.meta["undercroft/error"]["code"]), content.text


async def ask(
    url: str, key: str, tool: str, /, headers: Mapping[str, str] | None = None, **arguments: object
) -> CallToolResult:
    """One call of a tool."""
    async with assistant(url, key, headers=headers) as client:
        return await client.call_tool(tool, arguments)


def send(url: str, key: str | None, message: object, **headers: str) -> httpx.Response:
    """A message as it is, without a client of the protocol: JSON, or bytes that are sent as JSON."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    sent = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        **({} if key is None else {"Authorization": f"Bearer {key}"}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return httpx.post(f"{url}/mcp", content=body, headers=sent, timeout=60)
