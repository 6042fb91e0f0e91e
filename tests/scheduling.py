"""Which worker of a run takes which tests: those of a file that starts services go to one, which starts them once; and
those of all files that share such services, too.

pytest-xdist's own groups do nothing with pytest 9.2: it marks a test by its ``_nodeid``, and pytest reads ``_id``.
"""

import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

_AS_FILES: Final = ("tests/commands/", "tests/e2e/", "tests/packaging/")
"""Below these most of a test's time is what its file sets up."""
_SHARED: Final = re.compile(r"\b(upstream_service|configured_service|sdk: AsyncOpenAI)\b")
"""What files ask for that share services: fixtures of a whole run."""


class FileScheduling(LoadScopeScheduling):
    """Hands out those files as a whole, the ones with most tests first, and then all other tests one by one."""

    def schedule(self) -> None:
        """As for scopes; but a file of one test, which may take a minute, is not left for the end of the run."""
        is_first = self.collection is None
        super().schedule()
        if is_first:
            for scope in [scope for scope in reversed(self.workqueue) if "::" not in scope]:
                self.workqueue.move_to_end(scope, last=False)

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if not path.startswith(_AS_FILES):
            return nodeid
        return "shared services" if _shares(self.config.rootpath / path) else path


@cache
def _shares(file: Path) -> bool:
    return _SHARED.search(file.read_text()) is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """In the place of xdist's groups."""
    if config.getvalue("dist") != "loadgroup":
        return None
    return FileScheduling(config, log)
