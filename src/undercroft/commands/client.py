"""A client of a running service, for the commands that use one: a few calls of its OpenAI-compatible API."""

import json
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from undercroft.kit.errors import (
    STATUS,
    ErrorKind,
    InvalidRequestError,
    UnavailableError,
    UndercroftError,
)

_SECONDS: Final = 120.0
_PAGE: Final = 100
_KINDS: Final = {status: kind for kind, status in STATUS.items()}


def sendable_name(path: Path) -> str:
    """A file's name as it is uploaded: what in it is not UTF-8 is replaced."""
    return os.fsencode(path.name).decode("utf-8", "replace")


class ServiceClient:
    """Calls one service with one key. Open it with ``async with``.

    Args:
        url: The service's address, without ``/v1``.
        key: An API key.
    """

    def __init__(self, url: str, key: str) -> None:
        self._root = f"{url.rstrip('/')}/v1"
        self._headers = {"Authorization": f"Bearer {key}"}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=_SECONDS)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def find_or_create_store(self, name: str) -> str:
        """The id of the vector store with that name, created when missing."""
        for store in await self._list("vector_stores"):
            if store["name"] == name:
                return str(store["id"])
        created = await self._call("POST", "vector_stores", {"name": name})
        return str(created["id"])

    async def list_files(self, store_id: str) -> dict[str, tuple[str, int]]:
        """The files in a store: id to name and size in bytes."""
        files = {
            file["id"]: (str(file["filename"]), int(file["bytes"]))
            for file in await self._list("files")
        }
        members = await self._list(f"vector_stores/{store_id}/files")
        return {member["id"]: files[member["id"]] for member in members if member["id"] in files}

    async def upload(self, path: Path) -> str:
        """Upload a file; its id.

        Raises:
            UndercroftError: When the file cannot be read or the service refuses it, with the reason.
        """
        # Unquoted, because a server takes the name as it comes: quoted, "Müller.txt" would be called "M%C3%BCller.txt".
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("purpose", "user_data")
        try:
            # By its descriptor: aiohttp would look at the name of a file that has one, and choke on what is no UTF-8.
            file = os.fdopen(os.open(path, os.O_RDONLY), "rb")
        except OSError as error:
            raise InvalidRequestError(f"It cannot be read: {error.strerror}.") from error
        with file:
            form.add_field("file", file, filename=sendable_name(path))
            return str((await self._call("POST", "files", data=form))["id"])

    async def add(self, store_id: str, file_id: str) -> None:
        """Add a file to a store."""
        await self._call("POST", f"vector_stores/{store_id}/files", {"file_id": file_id})

    async def count_files(self, store_id: str) -> dict[str, int]:
        """How many files of a store are in which state."""
        store = await self._call("GET", f"vector_stores/{store_id}")
        return dict(store["file_counts"])

    async def list_failed(self, store_id: str) -> list[tuple[str, str]]:
        """The files of a store that could not be indexed: id and reason."""
        members = await self._list(f"vector_stores/{store_id}/files", {"filter": "failed"})
        return [(member["id"], str(member["last_error"]["message"])) for member in members]

    async def ask(self, store_id: str, question: str) -> AsyncGenerator[dict[str, Any]]:
        """The events of an answer from a store's documents.

        Raises:
            UndercroftError: When the service refuses or fails.
        """
        body = {
            "input": question,
            "stream": True,
            "tools": [{"type": "file_search", "vector_store_ids": [store_id]}],
        }
        async with self._session.post(f"{self._root}/responses", json=body) as response:
            await _check(response)
            async for line in response.content:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])

    async def _list(
        self, path: str, parameters: Mapping[str, str] | None = None
    ) -> Sequence[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            query = {"limit": str(_PAGE), **(parameters or {}), **cursor}
            page = await self._call("GET", path, parameters=query)
            items.extend(page["data"])
            if not page["has_more"]:
                return items
            cursor = {"after": str(page["last_id"])}

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        data: aiohttp.FormData | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method, f"{self._root}/{path}", json=body, data=data, params=parameters
            ) as response:
                await _check(response)
                return dict(await response.json())
        except aiohttp.ClientConnectorError as error:
            raise UnavailableError(
                f"No service answers at {self._root.removesuffix('/v1')}. Start it with `undercroft serve`, or name "
                "another with --url."
            ) from error


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    kind = _KINDS.get(response.status, ErrorKind.UPSTREAM_FAILED)
    try:
        message = str((await response.json())["error"]["message"])
    except (aiohttp.ContentTypeError, json.JSONDecodeError, KeyError, TypeError):
        message = f"{response.url.host} answered {response.status}; is that an Undercroft service?"
    raise UndercroftError(message, kind=kind)
