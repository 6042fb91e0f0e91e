"""Files as they really lie about go in once, whatever they are called, and a repeated run adds nothing."""

import asyncio
import io
import os
import socket
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from rich.console import Console

from tests.e2e.conftest import Service, make_key, start_service, stop_service
from undercroft.commands.client import ServiceClient
from undercroft.commands.ingest import ingest_paths
from undercroft.kit.errors import ErrorKind, UndercroftError

NAMES = (
    "plain.txt",
    "Müller & Söhne (1).txt",
    'it\'s "quoted" 100%.txt',
    "[bold]draft.txt",
    "50%C3%BC.txt",
    "🦆 鴨.txt",
)
UNDECODABLE = b"caf\xe9.txt"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    data_dir = tmp_path_factory.mktemp("ingest") / "data"
    process, url = start_service(data_dir)
    try:
        yield Service(url, data_dir, process, make_key(data_dir, "ingest", "ann@example.org"))
    finally:
        stop_service(process)


@pytest.fixture
async def client(service: Service) -> AsyncGenerator[ServiceClient]:
    """A user of this test's own."""
    user = f"{os.urandom(6).hex()}@example.org"
    key = await asyncio.to_thread(service.make_key, "ingest", user)
    async with ServiceClient(service.url, key) as opened:
        yield opened


async def ingest(client: ServiceClient, *paths: Path) -> tuple[str, str]:
    """The store's id, and what was printed."""
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    store_id = await ingest_paths(client, "Papers", paths, console)
    return store_id, printed.getvalue()


def write(folder: Path) -> None:
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_text(f"Note number {number}.\n" * (number + 1))
    Path(os.fsdecode(os.fsencode(folder) + b"/" + UNDECODABLE)).write_text("A drink.")
    (folder / ".hidden").write_text("Not for indexing.")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "below.md").write_text("# Below\n\nDeeper down.")


async def test_a_folder_goes_in_once_under_its_own_names(
    client: ServiceClient, tmp_path: Path
) -> None:
    folder = tmp_path / "papers"
    write(folder)
    store_id, printed = await ingest(client, folder)
    files = await client.list_files(store_id)
    assert sorted(name for name, _ in files.values()) == sorted(
        [*NAMES, "caf\N{REPLACEMENT CHARACTER}.txt", "below.md"]
    )
    assert await client.count_files(store_id) == {
        "in_progress": 0,
        "completed": 8,
        "failed": 0,
        "cancelled": 0,
        "total": 8,
    }
    assert "not taken" not in printed
    again, printed = await ingest(client, folder, folder / "plain.txt")
    assert again == store_id
    assert "0/0" in printed
    assert (await client.list_files(store_id)).keys() == files.keys()
    (folder / "new.txt").write_text("One more.")
    await ingest(client, folder)
    added = (await client.list_files(store_id)).keys() - files.keys()
    assert len(added) == 1


async def test_what_is_refused_or_cannot_be_read_is_named_and_the_rest_goes_in(
    client: ServiceClient, tmp_path: Path
) -> None:
    (tmp_path / "[red]picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\ncut off")
    (tmp_path / "good.txt").write_text("A good one.")
    store_id, printed = await ingest(client, tmp_path)
    assert "not taken [red]picture.png: This file looks like a PNG image" in printed
    assert "not taken empty.txt: The file is empty." in printed
    assert "not indexed" in printed
    counts = await client.count_files(store_id)
    assert (counts["completed"], counts["failed"]) == (1, 1)


async def test_a_file_that_cannot_be_opened_is_an_error_with_its_reason(
    client: ServiceClient, tmp_path: Path
) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "gone", "No such file")):
        with pytest.raises(UndercroftError, match=reason):
            await client.upload(path)


async def test_a_path_that_is_not_there_is_named_before_anything_is_sent(
    client: ServiceClient, tmp_path: Path
) -> None:
    (tmp_path / "good.txt").write_text("A good one.")
    with pytest.raises(FileNotFoundError, match="absent"):
        await ingest(client, tmp_path / "good.txt", tmp_path / "absent")
    store_id, _ = await ingest(client)
    assert await client.list_files(store_id) == {}


async def test_long_lists_are_read_to_their_end(client: ServiceClient, tmp_path: Path) -> None:
    for number in range(103):
        (tmp_path / f"{number}.txt").write_text("All the same.")
    store_id, _ = await ingest(client, tmp_path)
    assert len(await client.list_files(store_id)) == 103
    _, printed = await ingest(client, tmp_path)
    assert "0/0" in printed


async def test_a_wrong_key_and_another_program_are_told_apart(service: Service) -> None:
    async with ServiceClient(f"{service.url}/", "uk_wrong") as stranger:
        with pytest.raises(UndercroftError) as refused:
            await stranger.find_or_create_store("Papers")
        assert refused.value.kind is ErrorKind.UNAUTHENTICATED
    async with ServiceClient(f"{service.url}/nowhere", service.key) as lost:
        with pytest.raises(UndercroftError) as missing:
            await lost.find_or_create_store("Papers")
        assert missing.value.kind is ErrorKind.NOT_FOUND


async def test_where_no_service_is_one_is_told_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with ServiceClient(url, "uk_any") as client:
            with pytest.raises(UndercroftError, match=f"No service answers at {url}. Start it"):
                await ingest(client, tmp_path)
