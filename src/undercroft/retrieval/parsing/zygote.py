"""The process from which every parser is forked: all parsers loaded, nothing of the service's memory.

Run as ``python -m undercroft.retrieval.parsing.zygote DESCRIPTOR MODULE:FUNCTION``. It reads requests from the
packet socket that it inherited, forks a confined child for each, and reports how each child ended. It is started
fresh instead of being forked from the service, so it holds no key, no connection and no document but the one that a
child is handed; and the service's own program is not run again for each file, as multiprocessing would.

It ends, and its children with it, when the other end of its socket closes: also when the service is killed.
"""

import encodings
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Final, TypeAlias, TypedDict

from undercroft.retrieval.parsing.confinement import confine_parser, confine_server
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.wire import encode_document, encode_failure

Extractor: TypeAlias = Callable[[BinaryIO, str, int], ExtractedDocument]

EXIT_FAILED: Final = 1
EXIT_TOO_COMPLEX: Final = 3
MAX_PACKET_BYTES: Final = 8192

_FOREIGN_CODECS: Final = frozenset({"mbcs", "oem", "cp65001"})  # of another operating system


class _Request(TypedDict):
    job: int
    media_type: str
    max_characters: int
    memory_bytes: int
    cpu_seconds: int


class Zygote:
    """Serves requests until its socket closes.

    A request is ``{"job", "media_type", "max_characters", "memory_bytes", "cpu_seconds"}`` with two descriptors, the
    file and the socket for the answer; or ``{"kill": job}``. A report is ``{"job", "status"}``, the status being an
    exit code, or a signal's number made negative.
    """

    def __init__(self, control: socket.socket, extractor: Extractor) -> None:
        self._control = control
        self._extractor = extractor
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, tuple[int, int]] = {}  # job: process id, its descriptor

    def serve(self) -> None:
        """Fork, kill and reap as asked; at the end, every child that is left."""
        self._selector.register(self._control, selectors.EVENT_READ, None)
        try:
            self._serve_requests()
        finally:
            for child, _ in self._children.values():
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)

    def _serve_requests(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._reap(key.data)
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self._control, MAX_PACKET_BYTES, 2)
        if not packet:
            return False
        request = json.loads(packet)
        if "kill" in request:
            child = self._children.get(request["kill"])
            if child is not None:
                os.kill(child[0], signal.SIGKILL)  # unreaped, so the number is still its own
            return True
        file, answer = descriptors
        self._start(request, file, answer)
        os.close(file)
        os.close(answer)
        return True

    def _start(self, request: _Request, file: int, answer: int) -> None:
        server = os.getpid()
        child = os.fork()
        if child == 0:
            status = EXIT_FAILED
            try:
                self._leave_server()
                confine_parser(server, request["memory_bytes"], request["cpu_seconds"])
                status = _parse(self._extractor, request, file, answer)
            finally:
                os._exit(status)  # nothing of the server may run on in its child
        job = request["job"]
        descriptor = os.pidfd_open(child)
        self._children[job] = (child, descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, job)

    def _leave_server(self) -> None:
        """Let go, in a child, of everything by which it could reach the server or another child."""
        self._selector.close()
        self._control.close()
        for _, descriptor in self._children.values():
            os.close(descriptor)
        os.dup2(0, 1)  # the null device: a parser's warnings would be the file's words in our log
        os.dup2(0, 2)

    def _reap(self, job: int) -> None:
        child, descriptor = self._children.pop(job)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        _, wait_status = os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(wait_status)
        self._control.send(json.dumps({"job": job, "status": status}).encode())


def _parse(extractor: Extractor, request: _Request, file: int, answer: int) -> int:
    """Read one file and send the answer.

    Returns:
        The exit code of this process.
    """
    with open(file, "rb") as source, socket.socket(fileno=answer) as sink:
        try:
            document = extractor(source, request["media_type"], request["max_characters"])
            encoded = encode_document(document)
        except ParseError as error:
            encoded = encode_failure(error)
        except (MemoryError, RecursionError):
            return EXIT_TOO_COMPLEX
        except Exception as error:  # noqa: BLE001 - whatever a library makes of a hostile file is the file's error
            encoded = encode_failure(_unforeseen(error))
        sink.sendall(encoded)
    return 0


def _unforeseen(error: Exception) -> ParseError:
    return ParseError(
        ParseErrorCode.CORRUPT_FILE,
        "This file is damaged and cannot be read. Export it again and upload the new file.",
        detail=ascii(error),
    )


def _load_codecs() -> None:
    """Import every text encoding, and the machinery around them: a child cannot open a file to do so."""
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in _FOREIGN_CODECS:
            importlib.import_module(f"encodings.{module.name}")


def _load_extractor(reference: str) -> Extractor:
    module, _, function = reference.partition(":")
    extractor: Extractor = getattr(importlib.import_module(module), function)
    return extractor


def main(descriptor: int, reference: str) -> None:
    """Load everything, give up what a parser does not need, say so, and serve."""
    # A service that has ended meanwhile is told nothing more.
    with socket.socket(fileno=descriptor) as control, suppress(ConnectionError):
        extractor = _load_extractor(reference)
        _load_codecs()
        missing = confine_server()
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page it counts on
        control.send(json.dumps({"missing_protections": missing}).encode())
        Zygote(control, extractor).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
