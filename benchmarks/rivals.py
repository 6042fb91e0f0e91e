"""Two services that answer the same requests, loaded in turn: what each costs, side by side in one run."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import psutil


@dataclass(slots=True)
class Rival:
    """One of the services that are compared.

    Attributes:
        processes: Every process that works for it, the database's too: their processor time is what it costs.
        paths: What is asked for, in turn.
        cpu_seconds: Of a request, one sample for each round.
        latencies: Of every request, in seconds.
        paced_latencies: Of every request that came at its own time, in seconds.
    """

    name: str
    url: str
    key: str
    paths: Sequence[str]
    processes: Sequence[psutil.Process]
    cpu_seconds: list[float] = field(default_factory=list[float])
    latencies: list[float] = field(default_factory=list[float])
    rates: list[float] = field(default_factory=list[float])
    paced_latencies: list[float] = field(default_factory=list[float])


async def load_in_turn(
    rivals: Sequence[Rival], *, clients: int, rounds: int, requests: int
) -> None:
    """Load each rival with so many requests by so many clients, then the next; and all of it again, round by round.

    Each round begins with another rival, so that none of them always profits from what the one before has warmed.
    """
    for number in range(-1, rounds):
        order = [*rivals[number % len(rivals) :], *rivals[: number % len(rivals)]]
        for rival in order:
            await _load(rival, clients, requests, keep=number >= 0)


async def _load(rival: Rival, clients: int, requests: int, *, keep: bool) -> None:
    latencies: list[float] = []
    async with aiohttp.ClientSession(
        rival.url,
        headers={"Authorization": f"Bearer {rival.key}"},
        connector=aiohttp.TCPConnector(limit=clients),
        raise_for_status=True,
    ) as session:
        numbers = iter(range(requests))

        async def ask() -> None:
            for number in numbers:
                started = time.perf_counter()
                async with session.get(rival.paths[number % len(rival.paths)]) as answer:
                    await answer.read()
                latencies.append(time.perf_counter() - started)

        before, started = cpu_seconds(rival.processes), time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(clients)))
        seconds = time.perf_counter() - started
        spent = cpu_seconds(rival.processes) - before
    if keep:
        rival.cpu_seconds.append(spent / requests)
        rival.rates.append(requests / seconds)
        rival.latencies += latencies


async def pace_in_turn(rivals: Sequence[Rival], *, rate: float, rounds: int, requests: int) -> None:
    """Send each rival requests at even intervals, whether or not the last was answered: no queue for the processors.

    Args:
        rivals: Their latencies are added to.
        rate: Requests in a second.
        rounds: After a first one that does not count.
        requests: Of a round, each rival.
    """
    for number in range(-1, rounds):
        for rival in rivals if number % 2 else reversed(rivals):
            latencies = await _pace(rival, rate, requests)
            if number >= 0:
                rival.paced_latencies += latencies


async def _pace(rival: Rival, rate: float, requests: int) -> list[float]:
    latencies: list[float] = []
    async with (
        aiohttp.ClientSession(
            rival.url,
            headers={"Authorization": f"Bearer {rival.key}"},
            connector=aiohttp.TCPConnector(limit=0),
            raise_for_status=True,
        ) as session,
        asyncio.TaskGroup() as tasks,
    ):

        async def ask(path: str, due: float) -> None:
            await asyncio.sleep(due - time.perf_counter())
            # From its time on: what waits because the last is slow has waited.
            async with session.get(path) as answer:
                await answer.read()
            latencies.append(time.perf_counter() - due)

        begin = time.perf_counter()
        for number in range(requests):
            path = rival.paths[number % len(rival.paths)]
            tasks.create_task(ask(path, begin + number / rate))
    return latencies


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Processor time of processes and all that they started, also of what has ended and was waited for."""
    total = 0.0
    for process in processes:
        for one in (process, *process.children(recursive=True)):
            try:
                times = one.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        # A backend that ends between two readings leaves its time with its parent.
        ended = process.cpu_times()
        total += ended.children_user + ended.children_system
    return total
