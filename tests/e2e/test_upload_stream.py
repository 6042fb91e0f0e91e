"""A large upload on its way in: encrypted while it arrives, and nothing of it stays when it is cut off."""

import select
import socket
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psutil

from tests.e2e.conftest import Service
from tests.e2e.test_canary import holders

SIZE = 1_900_000
END = b"\r\n--x\r\nContent-Disposition: form-data; name=purpose\r\n\r\nuser_data\r\n--x--\r\n"


def begin(service: Service, content: bytes, length: int | None) -> socket.socket:
    """Send the head of an upload and the first part of its file."""
    address = urlsplit(service.url)
    connection = socket.create_connection((address.hostname, address.port or 80), timeout=30)
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\n{framing}\r\n\r\n"
    )
    connection.sendall(head.encode())
    connection.sendall(content)
    return connection


def form(content: bytes) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name=file; filename="a.txt"\r\n\r\n' + content


def deleted_files(service: Service) -> list[Path]:
    """Files that the service's processes hold open and that have no name: where frameworks spool."""
    held: list[Path] = []
    for process in (
        psutil.Process(service.process.pid),
        *psutil.Process(service.process.pid).children(),
    ):
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                target = str(link.readlink())
            except FileNotFoundError:
                continue
            if target.endswith("(deleted)") and target.startswith("/") and "memfd" not in target:
                held.append(link)
    return held


def staged(service: Service) -> list[Path]:
    return [path for path in service.data_dir.rglob("staging/*") if path.is_file()]


def until_staged(service: Service) -> None:
    while not staged(service):
        psutil.Process(service.process.pid).cpu_percent(
            0.05
        )  # another process's progress can only be asked for


def test_nothing_of_a_large_upload_is_on_a_disk_in_the_clear(service: Service) -> None:
    canary = f"the canary {uuid4().hex} sang at dawn".encode()
    content = form((canary + b". ") * (SIZE // (len(canary) + 2)))
    connection = begin(service, content, len(content) + len(END))
    with connection:
        until_staged(service)
        assert holders(service.data_dir, canary.decode()) == []
        for link in deleted_files(service):
            assert canary not in link.read_bytes()
        connection.sendall(END)
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert staged(service) == []


def test_an_upload_that_is_cut_off_leaves_nothing(service: Service) -> None:
    content = form(b"cut off " * (SIZE // 8))
    with begin(service, content, len(content) + len(END)):
        until_staged(service)
    while staged(service):
        psutil.Process(service.process.pid).cpu_percent(
            0.05
        )  # another process's progress can only be asked for


def test_a_body_without_a_length_ends_at_the_limit(service: Service) -> None:
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    first = form(b"")
    connection = begin(service, f"{len(first):x}\r\n".encode() + first + b"\r\n", None)
    api = psutil.Process(service.process.pid)
    before = api.memory_info().rss
    with connection:
        sent = 0
        while not select.select([connection], [], [], 0)[0] and sent < 2**30:
            connection.sendall(chunk)
            sent += len(chunk)
        assert connection.recv(12) == b"HTTP/1.1 413"
    assert sent < 2**30
    assert api.memory_info().rss - before < 32 * 1024 * 1024
    assert staged(service) == []
