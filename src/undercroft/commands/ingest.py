"""``undercroft ingest``: puts files and folders into a collection of a running service."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from undercroft.commands.client import ServiceClient, sendable_name
from undercroft.kit.errors import UndercroftError

_UPLOADS: Final = 4
_POLL_SECONDS: Final = 0.2


async def ingest_paths(
    client: ServiceClient, store_name: str, paths: Sequence[Path], console: Console
) -> str:
    """Upload what the collection lacks and wait until all of it is indexed; the collection's vector store id.

    A file that is there already, by name and size, is left out, so that an interrupted run can be repeated. Files that
    are refused or cannot be read are named with their reasons; the others go on.

    Raises:
        UndercroftError: When the service does not do as asked.
        FileNotFoundError: When a path does not exist.
    """
    files = await asyncio.to_thread(_collect, paths)
    store_id = await client.find_or_create_store(store_name)
    present = set((await client.list_files(store_id)).values())
    missing = [path for path in files if (sendable_name(path), path.stat().st_size) not in present]
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        refused = await _upload(client, store_id, missing, progress)
        await _wait(client, store_id, progress)
    for path, reason in refused:
        console.print(f"[yellow]not taken[/] {escape(sendable_name(path))}: {escape(reason)}")
    for _, reason in await client.list_failed(store_id):
        console.print(f"[yellow]not indexed[/] {escape(reason)}")
    return store_id


def _collect(paths: Sequence[Path]) -> list[Path]:
    """The files at and below the paths, in a stable order; hidden ones are left out."""
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            found.extend(
                below
                for below in sorted(path.rglob("*"))
                if below.is_file()
                and not any(part.startswith(".") for part in below.relative_to(path).parts)
            )
        else:
            raise FileNotFoundError(f"{path} does not exist")
    return found


async def _upload(
    client: ServiceClient, store_id: str, paths: Sequence[Path], progress: Progress
) -> list[tuple[Path, str]]:
    refused: list[tuple[Path, str]] = []
    slots = asyncio.Semaphore(_UPLOADS)
    bar = progress.add_task("Uploading", total=len(paths))

    async def upload(path: Path) -> None:
        async with slots:
            try:
                await client.add(store_id, await client.upload(path))
            except UndercroftError as error:
                refused.append((path, error.message))
            progress.advance(bar)

    async with asyncio.TaskGroup() as tasks:
        for path in paths:
            tasks.create_task(upload(path))
    return refused


async def _wait(client: ServiceClient, store_id: str, progress: Progress) -> None:
    bar = progress.add_task("Indexing", total=None)
    while True:
        counts = await client.count_files(store_id)
        done = counts["completed"] + counts["failed"]
        progress.update(bar, completed=done, total=counts["total"])
        if done == counts["total"]:
            return
        await asyncio.sleep(_POLL_SECONDS)
