"""Assistants: the official SDK's client, as people connect it to the service."""

import time
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


def connect(url: str, key: str) -> httpx.Client:
    """Somebody's client of the API."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def put(client: httpx.Client, name: str, text: str, **fields: str) -> str:
    """A document that can be searched."""
    made = client.post(
        "/v1/documents", files={"file": (name, text.encode(), "text/plain")}, data=fields
    )
    assert made.status_code == 201, made.text
    document = str(made.json()["id"])
    if not fields:
        stored = client.post("/v1/vector_stores", json={"file_ids": [document]})
        assert stored.is_success, stored.text
        until_indexed(client, document)
    return document


def until_indexed(client: httpx.Client, document: str) -> None:
    """Wait for the worker."""
    for _ in range(600):
        if client.get(f"/v1/documents/{document}").json()["index_status"] == "indexed":
            return
        time.sleep(0.1)  # another process indexes; only it knows when
    raise AssertionError("the document is not indexed")


def share(client: httpx.Client, resource: str, user: str, *actions: str, **terms: Any) -> str:  # noqa: ANN401 - a body
    """A grant's id."""
    body = {"resource": resource, "grantee": {"user": user}, "actions": list(actions), **terms}
    made = client.post("/v1/grants", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def until_on_record(
    client: httpx.Client, resource: str | None = None, **fields: str
) -> dict[str, Any]:
    """The entry of somebody's audit that has all of these fields."""
    asked = {"action": fields["action"], "limit": "100"}
    about = asked if resource is None else {**asked, "resource": resource}
    for _ in range(600):
        entries = client.get("/v1/audit", params=about).json()["data"]
        for entry in entries:
            if all(entry[name] == value for name, value in fields.items()):
                found: dict[str, Any] = entry
                return found
        time.sleep(0.1)  # another process numbers entries; only it knows when
    raise AssertionError(f"there is no entry with {fields}")
