"""An extractor whose file says how it misbehaves: what a parser could do once a file has taken it over."""

import ctypes
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from undercroft.retrieval.parsing.models import ExtractedDocument

EXTRACTOR = f"{__name__}:extract"
BLOCK = 64 * 1024 * 1024


def extract(file: BinaryIO, media_type: str, max_characters: int) -> ExtractedDocument:
    """Misbehave as told, and report on it where that is possible."""
    order, _, argument = file.read().decode().partition(" ")
    text = _ORDERS[order](argument) if order in _ORDERS else order
    return ExtractedDocument(media_type, text[: max_characters + 1], None, (), ())


def _crash(_: str) -> str:
    ctypes.string_at(0)
    return "survived"


def _spin(_: str) -> str:
    while True:
        pass


def _wait(pipe: str) -> str:
    """Say that it runs, by the number of the process, on an open pipe; then do nothing for ever."""
    del pipe
    while True:
        time.sleep(60)


def _allocate(_: str) -> str:
    blocks: list[bytearray] = []
    while True:
        blocks.append(bytearray(BLOCK))


def _recurse(_: str) -> str:
    raise RecursionError


def _raise(message: str) -> str:
    raise RuntimeError(message)


def _attempt(action: Callable[[], object]) -> str:
    try:
        return f"allowed: {action()}"
    except OSError as error:
        return f"refused: {error.strerror}"


def _open(path: str) -> str:
    return _attempt(lambda: os.open(path, os.O_RDONLY))


def _create(path: str) -> str:
    return _attempt(lambda: os.open(path, os.O_WRONLY | os.O_CREAT))


def _change_mode(path: str) -> str:
    return _attempt(lambda: Path(path).chmod(0o644))


def _connect_path(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        return _attempt(lambda: client.connect(path))


def _connect(port: str) -> str:
    with socket.socket() as client:
        client.settimeout(30)
        return _attempt(lambda: client.connect(("127.0.0.1", int(port))))


def _send(port: str) -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        return _attempt(lambda: client.sendto(b"secret", ("127.0.0.1", int(port))))


def _kill(process: str) -> str:
    return _attempt(lambda: os.kill(int(process), signal.SIGKILL))


def _kill_server(_: str) -> str:
    return _attempt(lambda: os.kill(os.getppid(), signal.SIGKILL))


def _environment(_: str) -> str:
    return "\n".join(os.environ)


def _limits(_: str) -> str:
    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE")
    return "\n".join(f"{name} {resource.getrlimit(getattr(resource, name))[0]}" for name in names)


def _descriptors(_: str) -> str:
    """What it holds open: what it was given, and nothing of the server or of other files."""
    found: list[str] = []
    for descriptor in range(256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(str(descriptor))
    return " ".join(found)


def _flood(_: str) -> str:
    return "x" * 100_000_000


def _control_characters(_: str) -> str:
    return "a\0b"


def _answer(encoded: str) -> str:
    """Send these bytes in place of an answer, on the highest descriptor, which is the socket."""
    _, answer = sorted(int(number) for number in _descriptors("").split())[-2:]
    payload = bytes.fromhex(encoded)
    os.write(answer, payload)
    os._exit(0)


def _exit(status: str) -> str:
    os._exit(int(status))


def framed(header: bytes, text: bytes = b"") -> str:
    """An order to answer with this header and text."""
    return "answer " + (struct.pack(">I", len(header)) + header + text).hex()


_ORDERS = {
    "crash": _crash,
    "spin": _spin,
    "wait": _wait,
    "allocate": _allocate,
    "recurse": _recurse,
    "raise": _raise,
    "open": _open,
    "create": _create,
    "change-mode": _change_mode,
    "connect-path": _connect_path,
    "connect": _connect,
    "send": _send,
    "kill": _kill,
    "kill-server": _kill_server,
    "environment": _environment,
    "limits": _limits,
    "descriptors": _descriptors,
    "flood": _flood,
    "control-characters": _control_characters,
    "answer": _answer,
    "exit": _exit,
}
