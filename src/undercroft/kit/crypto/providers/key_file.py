"""Keys in a file: the default of an embedded service.

Each line is a key's id (16 hexadecimal digits) and the key in base64; the first line is the current key, the others
unwrap what they once wrapped. Whoever holds the file and the data folder can read everything: keep a copy of it apart
from the backups. Without it they can be read by nobody.
"""

import asyncio
import base64
import binascii
import fcntl
import glob
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from undercroft.kit.crypto.aead import KEY_BYTES, DecryptionError, seal, unseal
from undercroft.kit.crypto.providers.protocol import KeyMissingError, KeyUnavailableError
from undercroft.kit.files import sync_folder

_ID_BYTES: Final = 8
_MOST_BYTES: Final = 64 * 1024
_RETRY_SECONDS: Final = 10
_COPY: Final = ".new"

_log = structlog.stdlib.get_logger(__name__)


async def _always() -> bool:
    return True


class KeyFileError(Exception):
    """The key file is missing, malformed, or open to others; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _FileKey:
    id: bytes
    material: bytes

    def __repr__(self) -> str:
        return f"_FileKey({self.id.hex()})"


class KeyFile:
    """A key provider over the keys of one file. Make it with :meth:`open`, or :meth:`closed` where another one wraps.

    The file is read again before a key is wrapped, and when a key is asked for that was not in it: a running service
    takes part in a rotation without being restarted.
    """

    def __init__(self, path: Path, keys: Sequence[_FileKey]) -> None:
        self._path = path
        self._keys = {key.id: key for key in keys}
        self._current_id = keys[0].id if keys else None

    @classmethod
    async def open(
        cls,
        path: Path,
        entropy: Callable[[int], bytes] = os.urandom,
        *,
        may_create: Callable[[], Awaitable[bool]] = _always,
    ) -> "KeyFile":
        """The keys of a file. What a crash left beside it is removed.

        Args:
            path: The file.
            entropy: Returns that many random bytes.
            may_create: Asked when the file is missing: whether to make one with a fresh key. Not while anything is
                stored that a lost file's key wraps, since that would look like a service that works and has forgotten
                everything.

        Raises:
            KeyFileError: When it is missing and must not be made, malformed, or others may read it.
        """
        if not await asyncio.to_thread(_find, path):
            if await may_create():
                await asyncio.to_thread(_create, path, entropy)
            # Another process may have made it, and wrapped something with it, while we were asking.
            elif not await asyncio.to_thread(os.path.lexists, path):
                raise KeyFileError(
                    f"The key file {path} is missing, and what is stored can only be read with it. Put back your "
                    "copy of it, with mode 600."
                )
        return cls(path, await asyncio.to_thread(_read, path))

    @classmethod
    def closed(cls, path: Path) -> "KeyFile":
        """The keys of a file that is read once something needs them: it may be missing, or yet to be made."""
        return cls(path, ())

    async def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`KeyProvider`."""
        current = await self._read_again()
        return current.id + seal(current.material, key, current.id + context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`KeyProvider`."""
        if len(wrapped) <= _ID_BYTES:
            raise DecryptionError
        if wrapped[:_ID_BYTES] not in self._keys:
            await self._read_again()
        key = self._keys.get(wrapped[:_ID_BYTES])
        if key is None:
            raise KeyMissingError(
                f"The key file has no key {wrapped[:_ID_BYTES].hex()}. Put back the file that this data was written "
                "with."
            )
        return unseal(key.material, wrapped[_ID_BYTES:], key.id + context)

    def is_current(self, wrapped: bytes) -> bool:
        """See :class:`KeyProvider`."""
        return wrapped[:_ID_BYTES] == self._current_id

    async def _read_again(self) -> _FileKey:
        """The current key of the file as it is now."""
        try:
            keys = await asyncio.to_thread(_read, self._path)
        except KeyFileError as error:
            # What the operator has to do names a path of theirs, which is not the caller's business.
            _log.error("key_file_unusable", reason=str(error))
            raise KeyUnavailableError(
                "The key file of this service cannot be used now; its operator finds the reason in the log.",
                retry_after=_RETRY_SECONDS,
                code="key_unavailable",
            ) from error
        self._keys = {key.id: key for key in keys}
        self._current_id = keys[0].id
        return keys[0]


def add_key(path: Path, entropy: Callable[[int], bytes] = os.urandom) -> None:
    """Put a fresh key in front of a file's keys: it wraps from the next start on, and the others still unwrap.

    Raises:
        KeyFileError: When the file is missing, malformed or others may read it.
    """
    with _locked(path):
        _write(path, [_new_key(entropy), *_read(path)])


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Keep other processes from changing the file.

    Against two rotations at once: each would write over the other's key, which may already wrap something. And against
    removing, as left by a crash, the copy that another process is about to give the file's name.
    """
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _find(path: Path) -> bool:
    """Whether the file is there, once the copies are gone that a crash left beside it: each holds every key."""
    abandoned = list(path.parent.glob(f".{glob.escape(path.name)}.*{_COPY}"))
    if abandoned:
        with _locked(path):
            for copy in abandoned:
                copy.unlink(missing_ok=True)
            sync_folder(path.parent)
    return os.path.lexists(path)


def _create(path: Path, entropy: Callable[[int], bytes]) -> None:
    """Make the file with a fresh key; another process may be first, and then theirs counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path):
        if not os.path.lexists(path):
            _write(path, [_new_key(entropy)])


def _new_key(entropy: Callable[[int], bytes]) -> _FileKey:
    return _FileKey(entropy(_ID_BYTES), entropy(KEY_BYTES))


def _read(path: Path) -> list[_FileKey]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb")
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be read: {error.strerror}.") from error
    with file:
        status = os.fstat(file.fileno())
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyFileError(
                f"The key file {path} is open to others (mode {stat.S_IMODE(status.st_mode):o}). "
                f"Run: chmod 600 {path}"
            )
        if status.st_uid not in {os.geteuid(), 0}:
            raise KeyFileError(f"The key file {path} belongs to another user.")
        text = file.read(_MOST_BYTES + 1)
    try:
        keys = [_parse(line) for line in text.splitlines()]
    except ValueError:
        keys = []
    if not keys or len(text) > _MOST_BYTES or len({key.id for key in keys}) != len(keys):
        # What is wrong is not quoted: it may be most of a key.
        raise KeyFileError(
            f"The key file {path} is malformed. Each of its lines is an id and a key, as this program wrote them; "
            "put back your copy."
        )
    return keys


def _parse(line: bytes) -> _FileKey:
    name, _, encoded = line.partition(b" ")
    try:
        key = _FileKey(
            bytes.fromhex(name.decode("ascii")), base64.b64decode(encoded, validate=True)
        )
    except (UnicodeDecodeError, binascii.Error) as error:
        raise ValueError from error
    if len(key.id) != _ID_BYTES or len(key.material) != KEY_BYTES:
        raise ValueError
    return key


def _render(keys: list[_FileKey]) -> bytes:
    return b"".join(
        key.id.hex().encode() + b" " + base64.b64encode(key.material) + b"\n" for key in keys
    )


def _write(path: Path, keys: list[_FileKey]) -> None:
    """Give a whole copy the file's name."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_COPY)
    copy = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_render(keys))
            file.flush()
            os.fsync(file.fileno())
        copy.replace(path)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
