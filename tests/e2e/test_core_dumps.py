"""No process of a service may leave its memory, and the keys in it, in a core file."""

import contextlib

import psutil

from tests.e2e.conftest import Service


def test_core_dumps_are_off_in_every_process(service: Service) -> None:
    serve = psutil.Process(service.process.pid)
    processes = [serve, *serve.children(recursive=True)]
    limits: dict[str, object] = {}
    for process in processes:
        # PostgreSQL's workers come and go: one that has ended since it was listed writes no core file either.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            limits[" ".join(process.cmdline())] = process.rlimit(psutil.RLIMIT_CORE)
    for part in ("undercroft serve", "undercroft worker", "postgres", "zygote"):
        assert any(part in command for command in limits)
    assert set(limits.values()) == {(0, 0)}, limits
