"""The service's end of the socket to a zygote: start it, ask it for parsers, learn how each ended."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from undercroft.kit.errors import UnavailableError
from undercroft.retrieval.parsing.zygote import MAX_PACKET_BYTES

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ParserProcess:
    """One parser's process.

    Attributes:
        answer: The socket that it writes to; at its end when the process has ended.
        status: Its exit code, or the number of the signal that ended it, made negative.
    """

    answer: socket.socket
    status: asyncio.Future[int]


class ZygoteConnection:
    """One running zygote. Made by :meth:`start`; of no use any more once it is not :attr:`alive`."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._jobs: dict[int, asyncio.Future[int]] = {}
        self._last_job = 0
        self._alive = True
        self._reports: asyncio.Task[None] | None = None
        self.missing_protections: tuple[str, ...] = ()

    @classmethod
    async def start(cls, extractor: str) -> "ZygoteConnection":
        """Start a zygote and wait until it has loaded its parsers.

        Args:
            extractor: The function that reads a file, as ``module:function``.

        Raises:
            UnavailableError: It ended at once, or was not ready in time.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                connection = cls(await _spawn(theirs, extractor), ours)
        except BaseException:
            ours.close()
            raise
        try:
            await connection._wait_until_ready()
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def alive(self) -> bool:
        """Whether it can be asked for another parser."""
        return self._alive

    @asynccontextmanager
    async def run(self, request: dict[str, object], file: int) -> AsyncGenerator[ParserProcess]:
        """A parser's process for one file; it has ended when the block is left, whichever way.

        Args:
            request: As :class:`~undercroft.retrieval.parsing.zygote.Zygote` has it, without the job's number.
            file: The descriptor of the file to read.

        Raises:
            UnavailableError: The zygote has died.
        """
        ours, theirs = socket.socketpair()
        self._last_job += 1
        number = self._last_job
        status = asyncio.get_running_loop().create_future()
        self._jobs[number] = status
        with ours:
            ours.setblocking(False)
            try:
                with theirs:
                    self._send({**request, "job": number}, [file, theirs.fileno()])
                yield ParserProcess(ours, status)
            finally:
                await self._end(number, status)

    async def close(self) -> None:
        """End the zygote and every parser it runs."""
        self._alive = False
        if self._reports is not None:
            self._reports.cancel()
            await asyncio.wait([self._reports])
        self._control.close()
        self._fail_jobs()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _wait_until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                packet = await loop.sock_recv(self._control, MAX_PACKET_BYTES)
                if packet:
                    self.missing_protections = tuple(json.loads(packet)["missing_protections"])
                    self._reports = asyncio.create_task(self._receive_reports())
                    return
        raise UnavailableError("The document reader did not start.", retry_after=5)

    async def _receive_reports(self) -> None:
        loop = asyncio.get_running_loop()
        while packet := await self._receive(loop):
            report = json.loads(packet)
            status = self._jobs.pop(report["job"], None)
            if status is not None and not status.done():
                status.set_result(report["status"])
        self._alive = False
        self._fail_jobs()

    async def _receive(self, loop: asyncio.AbstractEventLoop) -> bytes:
        try:
            return await loop.sock_recv(self._control, MAX_PACKET_BYTES)
        except ConnectionError:
            return b""

    def _send(self, message: dict[str, object], descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            raise _died() from error

    async def _end(self, number: int, status: asyncio.Future[int]) -> None:
        """Kill a parser that still runs and wait for its report, so that nothing outlives its caller."""
        if not status.done():
            with suppress(UnavailableError):
                self._send({"kill": number}, [])
                await asyncio.wait([status], timeout=STOP_SECONDS)
        self._jobs.pop(number, None)
        if status.done() and not status.cancelled():
            status.exception()  # seen: the caller may have left before it was set
        status.cancel()

    def _fail_jobs(self) -> None:
        for status in self._jobs.values():
            if not status.done():
                status.set_exception(_died())
        self._jobs.clear()


async def _spawn(control: socket.socket, extractor: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "undercroft.retrieval.parsing.zygote",
        str(control.fileno()),
        extractor,
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(control.fileno(),),
        env=_environment(),
        start_new_session=True,  # an interrupt from the terminal is the service's to handle
    )


def _died() -> UnavailableError:
    return UnavailableError(
        "The document reader stopped and is being restarted; try again.", retry_after=1
    )


def _environment() -> dict[str, str]:
    """Where to import from, and nothing else: the service's environment holds its secrets."""
    environment = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    library_path = os.environ.get("LD_LIBRARY_PATH")
    return {**environment, "LD_LIBRARY_PATH": library_path} if library_path else environment
