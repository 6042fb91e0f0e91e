"""Ways to the database and back: a stretch of wire in front of its server that counts them."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from undercroft.kit.postgres.configuration import PORT

_READY_FOR_QUERY = b"Z"
"""The message that ends the answer to whatever a client then waits for."""


class Wire:
    """Counts, of all connections together, how often the server was asked and had answered."""

    def __init__(self, server: Path) -> None:
        self.round_trips = 0
        self._server = server

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what one client and the server say, until one of them ends it."""
        answers, asks = await asyncio.open_unix_connection(str(self._server))
        # Whoever ends a connection may leave the other with something to say.
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await asyncio.gather(_carry(reader, asks), self._count(answers, writer))

    async def _count(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while header := await answers.read(1):
                length = await answers.readexactly(4)
                message = await answers.readexactly(int.from_bytes(length) - len(length))
                self.round_trips += header == _READY_FOR_QUERY
                writer.write(header + length + message)
        finally:
            writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
    finally:
        writer.close()


@asynccontextmanager
async def counted_wire(url: str) -> AsyncGenerator[tuple[str, Wire]]:
    """A URL that leads to the same database, and what is counted on the way."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    name = f".s.PGSQL.{PORT}"
    wire = Wire(Path(query["host"][0], name))
    # The path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="wire-") as folder:
        server = await asyncio.start_unix_server(wire.connect, Path(folder, name))
        query["host"] = [folder]
        async with server:
            yield parts._replace(query=urlencode(query, doseq=True)).geturl(), wire
