"""Whose code ``--cov`` measures: that of the tests' own processes, where tests run the code there.

To be measured takes a process half as long again (Python 3.11 traces every call of every library for it), and most of
what runs in the end-to-end tests is services, in processes of their own. `make coverage` measures those too.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from coverage import Coverage

_RUN_ELSEWHERE: Final = ("tests/e2e/", "tests/packaging/")


@contextmanager
def measured_as_needed(nodeid: str) -> Generator[None]:
    """Do not measure the client's side of a test whose service's side is not measured.

    Args:
        nodeid: The test.
    """
    coverage = Coverage.current()
    if (
        coverage is None
        or not nodeid.startswith(_RUN_ELSEWHERE)
        or coverage.get_option("run:patch")
    ):
        yield
        return
    coverage.stop()
    try:
        yield
    finally:
        coverage.start()
