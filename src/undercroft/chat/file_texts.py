"""Reads the texts of files that come with requests: in the sandbox that reads uploads, and without keeping them."""

import asyncio
import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from undercroft.chat.providers.turns import FairTurns, TurnsFullError
from undercroft.kit.errors import InvalidRequestError, UnavailableError
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode, UnsupportedTypeError
from undercroft.retrieval.parsing.sandbox import ParserSandbox

MOST_CHARACTERS: Final = 1_000_000
"""Of text that the files of one request may have together."""
_AT_ONCE: Final = 2
"""How many files are read at once: as many as the sandbox takes."""
_WAITING: Final = 14
"""How many requests wait with one; one more is told to come back, or the last one of a tenant that has more there."""
_SECONDS: Final = 60.0
"""How long all files of a request may take, their waiting included."""
_PREFIX: Final = "data:"
_MARK: Final = ";base64,"
_LONGEST_HEAD: Final = 200


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file in a request.

    Attributes:
        data: Its content in base64, alone or as a data URL.
        name: What it is called; it tells kinds of text apart.
        param: The part of the request that holds it, where that is known.
    """

    data: str = field(repr=False)
    name: str | None
    param: str | None = None


class FileTexts:
    """Makes texts of files.

    Args:
        sandbox: Reads them. It is started by the first file that comes.
    """

    def __init__(self, sandbox: ParserSandbox) -> None:
        self._sandbox = sandbox
        self._turns = FairTurns(_AT_ONCE, _WAITING)

    async def read(self, tenant_id: UUID, files: Sequence[GivenFile], param: str) -> list[str]:
        """The text of each.

        Args:
            tenant_id: Who takes turns with others where files have to wait.
            files: The files.
            param: The request field that holds them all.

        Raises:
            InvalidRequestError: When one is no base64, of a type that is not read, or has no text, or all have more
                than is taken; ``code`` says which.
            UnavailableError: When too many others are being read, or it takes too long.
        """
        texts: list[str] = []
        try:
            async with asyncio.timeout(_SECONDS):
                for file in files:
                    # For each file anew: else all others would wait for a tenant's slow ones, until they are sent away.
                    async with self._turns.turn(tenant_id, _SECONDS):
                        texts.append(await self._read(file, param))
                    if sum(map(len, texts)) > MOST_CHARACTERS:
                        raise InvalidRequestError(
                            f"The files have more than {MOST_CHARACTERS:,} characters together.",
                            param=param,
                            code=ParseErrorCode.TOO_MUCH_TEXT,
                        )
        except (TimeoutError, TurnsFullError) as error:
            raise _busy() from error
        return texts

    async def _read(self, file: GivenFile, param: str) -> str:
        try:
            content, media_type = await asyncio.to_thread(_looked_at, file)
            return (await self._sandbox.extract(content, media_type)).text
        except (ParseError, UnsupportedTypeError, _NoFileError) as error:
            named = "" if file.name is None else f" '{file.name[:100]}'"
            raise InvalidRequestError(
                f"The file{named} cannot be read. {error.message}",
                param=file.param or param,
                code=error.code,
            ) from error


class _NoFileError(InvalidRequestError):
    """What was given is not what a file is given as."""


def _looked_at(file: GivenFile) -> tuple[bytes, str]:
    """What a file holds, and what that is by its content, whatever a data URL says of it."""
    data = file.data
    if data[: len(_PREFIX)].lower() == _PREFIX:
        head, mark, data = data.partition(_MARK)
        if not mark or len(head) > _LONGEST_HEAD:
            raise _NoFileError("A file's data URL is 'data:', its type, ';base64,' and base64.")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _NoFileError("It is no base64: give its content so.") from error
    return content, detect_media_type(io.BytesIO(content), file.name)


def _busy() -> UnavailableError:
    return UnavailableError("Too many files are being read at this moment. Try again.")
