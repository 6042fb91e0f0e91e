"""No process of a service may leave its memory, and the keys in it, in a core file."""

import psutil
import pytest

from tests.e2e.conftest import Service

pytestmark = pytest.mark.xdist_group("service")


def test_core_dumps_are_off_in_every_process(service: Service) -> None:
    serve = psutil.Process(service.process.pid)
    processes = [serve, *serve.children(recursive=True)]
    commands = " ".join(" ".join(process.cmdline()) for process in processes)
    for part in ("undercroft serve", "undercroft worker", "postgres", "zygote"):
        assert part in commands
    for process in processes:
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0), process.cmdline()
