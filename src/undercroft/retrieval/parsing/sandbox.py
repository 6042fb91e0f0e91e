"""Reads files in processes of their own, so that a hostile one harms nothing but itself."""

import asyncio
import codecs
import math
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from undercroft.retrieval.parsing.connection import ParserProcess, ZygoteConnection
from undercroft.retrieval.parsing.detection import MEDIA_TYPES
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode, UnsupportedTypeError
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.text import is_normalised
from undercroft.retrieval.parsing.wire import (
    LENGTH,
    MAX_HEADER_BYTES,
    InvalidAnswerError,
    decode_answer,
)
from undercroft.retrieval.parsing.zygote import EXIT_TOO_COMPLEX

MEBIBYTE: Final = 1024 * 1024
EXTRACTOR: Final = "undercroft.retrieval.parsing.extraction:extract_document"

_PIECE_BYTES: Final = 64 * 1024
_OUT_OF_MEMORY: Final = frozenset({EXIT_TOO_COMPLEX, -signal.SIGKILL})  # the kernel's own killer


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one file may cost.

    Attributes:
        memory_bytes: Address space of its process, some 75 MiB of which the loaded parsers take.
        seconds: Time on the wall from the moment that its process is asked for, and at most as much (in whole
            seconds) of processor time.
        max_characters: Length of its text.
    """

    memory_bytes: int = 1024 * MEBIBYTE
    seconds: float = 60.0
    max_characters: int = 20_000_000


class ParserSandbox:
    """Turns files into text, each in a confined process that lives for that one file.

    An asynchronous context manager; no process outlives it. Use one for the whole service.

    Args:
        limits: What one file may cost.
        concurrency: How many files are read at once; more wait their turn.
        extractor: The function that reads a file, as ``module:function``; a test names a hostile one.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        *,
        concurrency: int = 2,
        extractor: str = EXTRACTOR,
    ) -> None:
        self._limits = limits or SandboxLimits()
        self._extractor = extractor
        self._slots = asyncio.Semaphore(concurrency)
        self._starting = asyncio.Lock()
        self._connection: ZygoteConnection | None = None

    async def __aenter__(self) -> "ParserSandbox":
        await self._connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @property
    def missing_protections(self) -> tuple[str, ...]:
        """What this machine cannot confine; to be logged at start. Memory and time are always confined."""
        return self._connection.missing_protections if self._connection is not None else ()

    async def extract(self, source: Path | bytes, media_type: str) -> ExtractedDocument:
        """The text of one file.

        Args:
            source: The file, or its content: then it never touches a disk.
            media_type: What it was found to be by
                :func:`~undercroft.retrieval.parsing.detection.detect_media_type`.

        Raises:
            UnsupportedTypeError: No parser reads that type.
            ParseError: It has no text, or none that can be had within the limits.
            UnavailableError: The machinery failed, not the file; a retry is right.
            OSError: ``source`` cannot be opened.
        """
        if media_type not in MEDIA_TYPES:
            raise UnsupportedTypeError(media_type)
        async with self._slots:
            connection = await self._connect()
            async with _opened(source) as file:
                try:
                    async with asyncio.timeout(self._limits.seconds):
                        async with connection.run(self._request(media_type), file) as parser:
                            return await self._receive(parser)
                except TimeoutError as error:
                    raise self._timed_out() from error

    async def _connect(self) -> ZygoteConnection:
        async with self._starting:  # two files must not start two zygotes
            if self._connection is None or not self._connection.alive:
                if self._connection is not None:
                    await self._connection.close()
                self._connection = await ZygoteConnection.start(self._extractor)
            return self._connection

    def _timed_out(self) -> ParseError:
        return ParseError(
            ParseErrorCode.TIMED_OUT,
            f"Reading this file took longer than {self._limits.seconds:g} seconds. "
            "Split it into smaller files.",
        )

    def _request(self, media_type: str) -> dict[str, object]:
        return {
            "media_type": media_type,
            "max_characters": self._limits.max_characters,
            "memory_bytes": self._limits.memory_bytes,
            "cpu_seconds": math.ceil(self._limits.seconds),
        }

    async def _receive(self, parser: ParserProcess) -> ExtractedDocument:
        reader = _AnswerReader(self._limits.max_characters)
        loop = asyncio.get_running_loop()
        try:
            while piece := await loop.sock_recv(parser.answer, _PIECE_BYTES):
                reader.feed(piece)
            status = await parser.status
            if status == -signal.SIGXCPU:
                raise self._timed_out()
            if status != 0:
                raise _ended(status)
            return await asyncio.to_thread(reader.finish)
        except (InvalidAnswerError, UnicodeDecodeError) as error:
            raise ParseError(
                ParseErrorCode.CORRUPT_FILE,
                "This file made its reader misbehave. Export it again and upload the new file.",
                detail=str(error),
            ) from error


class _AnswerReader:
    """Takes an answer in as it comes, checking each piece, so that none holds up the event loop."""

    def __init__(self, max_characters: int) -> None:
        self._max_characters = max_characters
        self._head = bytearray()
        self._header: bytes | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="strict")
        self._pieces: list[str] = []
        self._characters = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._header is None:
            piece = self._feed_header(piece)
        self._add_text(self._decoder.decode(piece))

    def finish(self) -> ExtractedDocument:
        """The document, when all bytes are in."""
        self._add_text(self._decoder.decode(b"", final=True))
        if self._header is None:
            raise InvalidAnswerError("the answer ended within its header")
        return decode_answer(self._header, "".join(self._pieces))

    def _feed_header(self, piece: bytes) -> bytes:
        """Complete the header if this piece does, and return what follows it."""
        self._head += piece
        if len(self._head) < LENGTH.size:
            return b""
        (length,) = LENGTH.unpack_from(self._head)
        if length > MAX_HEADER_BYTES:
            raise InvalidAnswerError("the header is too long")
        end = LENGTH.size + length
        if len(self._head) < end:
            return b""
        self._header = bytes(self._head[LENGTH.size : end])
        return bytes(self._head[end:])

    def _add_text(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > self._max_characters or not is_normalised(text):
            raise InvalidAnswerError("the text is too long or holds control characters")
        self._pieces.append(text)


@asynccontextmanager
async def _opened(source: Path | bytes) -> AsyncGenerator[int]:
    """A descriptor of the file, opened in a thread; also closed when the caller leaves before it is open."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, source))
    try:
        file = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_opened)
        raise
    try:
        yield file
    finally:
        os.close(file)


def _close_opened(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _open(source: Path | bytes) -> int:
    if isinstance(source, Path):
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    file = os.memfd_create("document", os.MFD_CLOEXEC)
    try:
        view = memoryview(source)
        while view:
            view = view[os.write(file, view) :]
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file


def _ended(status: int) -> ParseError:
    """Why a parser's process ended without an answer."""
    if status in _OUT_OF_MEMORY:
        return ParseError(
            ParseErrorCode.TOO_COMPLEX,
            "Reading this file needs more memory than is allowed. Simplify it or split it.",
            detail=f"status {status}",
        )
    return ParseError(
        ParseErrorCode.CORRUPT_FILE,
        "This file is damaged: its reader crashed. Export it again and upload the new file.",
        detail=f"status {status}",
    )
