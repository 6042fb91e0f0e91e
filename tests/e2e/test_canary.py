"""What is written through the API is nowhere in the clear: not in the database's files, its WAL, the blobs or the logs.

The canary is a sentence. Its single words may be found, where docs/erasure.md says so: the index is made of them.
"""

import asyncio
import io
import mmap
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg

from tests.e2e.conftest import Service
from undercroft.kit.postgres.bootstrap import DATABASE, SUPERUSER, Credentials, database_url
from undercroft.kit.postgres.server import running_urls
from undercroft.kit.sql import AnyConnection


def holders(folder: Path, canary: str) -> list[str]:
    """Files below a folder with the canary in them, in UTF-8 or UTF-16."""
    needles = [canary.encode(), canary.encode("utf-16-le")]
    return [str(path) for path in files_of(folder) if any(found_in(path, needles))]


def write_out(data_dir: Path) -> None:
    """Have the running server write every page to its file.

    Without that, what was written may be in its memory alone, or in the log in a page image that is compressed: a
    search of the files would then find nothing whatever there is.
    """
    asyncio.run(_checkpoint(data_dir))


async def _checkpoint(data_dir: Path) -> None:
    async with superuser(data_dir) as connection:
        await connection.execute("CHECKPOINT")


@asynccontextmanager
async def superuser(data_dir: Path) -> AsyncGenerator[AnyConnection]:
    """Who sees every row of a running service."""
    urls = running_urls(data_dir)
    assert urls is not None
    socket_folder = Path(parse_qs(urlsplit(urls.service).query)["host"][0])
    password = Credentials.load(data_dir / "postgres" / "credentials.json").superuser
    connection = await asyncpg.connect(database_url(SUPERUSER, password, socket_folder, DATABASE))
    try:
        yield connection
    finally:
        await connection.close()


def files_of(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def found_in(path: Path, needles: list[bytes]) -> Iterator[bool]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for needle in needles:
                yield data.find(needle) >= 0
    except (ValueError, FileNotFoundError):
        # Empty, or deleted since it was listed.
        return


def test_a_canary_through_every_input_is_in_no_file(service: Service) -> None:
    tag = uuid4().hex
    in_text, in_name, in_store, in_question, in_instructions = (
        f"the {place} canary {tag} sang at dawn"
        for place in ("text", "name", "store", "question", "instructions")
    )
    with service.client() as client:
        file = client.files.create(
            file=(f"{in_name}.txt", io.BytesIO(f"Minutes. {in_text}. The end.".encode())),
            purpose="user_data",
        )
        store = client.vector_stores.create(name=in_store)
        client.vector_stores.files.create_and_poll(file_id=file.id, vector_store_id=store.id)
        found = client.vector_stores.search(store.id, query=in_question)
        assert in_text in found.data[0].content[0].text
        assert found.data[0].filename == f"{in_name}.txt"
        conversation = client.conversations.create(
            metadata={"about": in_store}, items=[{"role": "user", "content": in_question}]
        )
        response = client.responses.create(
            conversation=conversation.id,
            input=f"What did {in_question}?",
            instructions=in_instructions,
            tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
            include=["file_search_call.results"],
        )
        assert in_text in client.responses.retrieve(response.id).to_json()
        turns = client.conversations.items.list(
            conversation.id, include=["file_search_call.results"]
        ).to_json()
        assert in_text in turns
        assert in_question in turns
        assert client.vector_stores.retrieve(store.id).name == in_store
        assert client.files.content(file.id).text.count(in_text) == 1
    write_out(service.data_dir)
    for canary in (in_text, in_name, in_store, in_question, in_instructions):
        assert holders(service.data_dir, canary) == []
        assert canary not in service.log()


def test_the_search_for_the_canary_finds_one(tmp_path: Path) -> None:
    canary = "the canary sang"
    (tmp_path / "deep").mkdir()
    hidden = tmp_path / "deep" / "file"
    hidden.write_bytes(b"\0" * 5000 + canary.encode("utf-16-le"))
    (tmp_path / "empty").touch()
    assert holders(tmp_path, canary) == [str(hidden)]
