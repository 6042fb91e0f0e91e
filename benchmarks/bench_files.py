"""A large file up and down over HTTP on a running service, held against a plain copy of it that is flushed to the disk.

``PYTHONPATH=. python benchmarks/bench_files.py [--bytes N] [--rounds N]``: the memory is that of the API's process,
above what it has before the first transfer.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from benchmarks.live_service import running_service
from benchmarks.report import header, publish, summary

_BLOCK: Final = 1 << 20
_SAMPLE_SECONDS: Final = 0.05
_AIM_MIB: Final = 64


@dataclass(frozen=True, slots=True)
class Transfer:
    """One way of a file.

    Attributes:
        cpu_seconds: Of the API's process.
        peak_mib: The most memory of the API's process above its idle.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float


class Watch:
    """Looks at a process while something happens."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._idle = process.memory_info().rss

    async def over(self, work: Awaitable[None]) -> Transfer:
        """Time, processor time and memory of one piece of work."""
        peak = self._idle

        async def sample() -> None:
            nonlocal peak
            while True:
                peak = max(peak, self._process.memory_info().rss)
                await asyncio.sleep(_SAMPLE_SECONDS)

        sampling = asyncio.create_task(sample())
        before, started = self._process.cpu_times(), time.perf_counter()
        try:
            await work
        finally:
            seconds, after = time.perf_counter() - started, self._process.cpu_times()
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling
        cpu = after.user + after.system - before.user - before.system
        return Transfer(seconds, cpu, (peak - self._idle) / _BLOCK)


def make_file(path: Path, size: int, number: int) -> None:
    """Text that no other round has: the same content would not be stored again."""
    line = f"{number:08d} The quick brown fox jumps over the lazy dog; pack my box with liquor jugs.\n".encode()
    block = line * (_BLOCK // len(line) + 1)
    with path.open("wb") as file:
        left = size
        while left > 0:
            left -= file.write(block[: min(left, len(block))])


def copy_file(source: Path, target: Path) -> float:
    """Seconds of a plain copy, flushed."""
    started = time.perf_counter()
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_BLOCK):
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


async def blocks(path: Path) -> AsyncIterator[bytes]:
    """The file, read in a thread."""
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block


async def upload(session: aiohttp.ClientSession, path: Path) -> str:
    """Send a file; its id."""
    form = aiohttp.FormData()
    form.add_field("purpose", "user_data")
    form.add_field("file", blocks(path), filename="large.txt", content_type="text/plain")
    async with session.post("/v1/files", data=form) as response:
        return str((await response.json())["id"])


async def download(session: aiohttp.ClientSession, file_id: str, size: int) -> None:
    """Read a file to its end."""
    received = 0
    async with session.get(f"/v1/files/{file_id}/content") as response:
        async for block in response.content.iter_chunked(_BLOCK):
            received += len(block)
    if received != size:
        raise RuntimeError(f"{received} of {size} bytes came back")


async def measure(size: int, rounds: int) -> dict[str, Any]:
    """The samples of each way, and of the copy in the same round."""
    os.environ["UNDERCROFT_MAX_UPLOAD_BYTES"] = str(size)
    ups: list[Transfer] = []
    downs: list[Transfer] = []
    copies: list[float] = []
    async with running_service() as service:
        key = await service.make_key("files")
        watch = Watch(_api_process())
        with tempfile.TemporaryDirectory(prefix="undercroft-bench-") as folder:
            async with service.open_session(key) as session:
                for number in range(rounds):
                    path = Path(folder) / "large.txt"
                    await asyncio.to_thread(make_file, path, size, number)
                    copies.append(
                        await asyncio.to_thread(copy_file, path, path.with_suffix(".copy"))
                    )
                    ids: list[str] = []

                    async def send(path: Path = path, ids: list[str] = ids) -> None:
                        ids.append(await upload(session, path))

                    ups.append(await watch.over(send()))
                    downs.append(await watch.over(download(session, ids[0], size)))
                    async with session.delete(f"/v1/files/{ids[0]}"):
                        pass
    return {
        "bytes": size,
        "copy_seconds": summary(copies, 3),
        "upload": _summarise(ups),
        "download": _summarise(downs),
        "upload_over_copy": summary(
            [up.seconds / copy for up, copy in zip(ups, copies, strict=True)], 2
        ),
        "download_over_copy": summary(
            [down.seconds / copy for down, copy in zip(downs, copies, strict=True)], 2
        ),
        "memory_aim_mib": _AIM_MIB,
        "memory_holds": max(it.peak_mib for it in (*ups, *downs)) < _AIM_MIB,
    }


def _api_process() -> psutil.Process:
    for child in psutil.Process().children():
        if "serve" in child.cmdline():
            return child
    raise RuntimeError("there is no service among the child processes")


def _summarise(transfers: list[Transfer]) -> dict[str, Any]:
    return {
        "seconds": summary([it.seconds for it in transfers], 3),
        "cpu_seconds": summary([it.cpu_seconds for it in transfers], 3),
        "peak_mib_above_idle": summary([it.peak_mib for it in transfers]),
    }


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=10**9)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    document = header("files")
    document.update(asyncio.run(measure(arguments.bytes, arguments.rounds)))
    publish(document)


if __name__ == "__main__":
    main()
