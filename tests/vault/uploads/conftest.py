"""Uploads over one test's database and folder, wired as the application wires them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.stepping import SteppedDatabase
from tests.vault.uploads.bench import Bench, make_bench
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls


@pytest.fixture
async def stepped(database_urls: DatabaseUrls) -> AsyncGenerator[SteppedDatabase]:
    """What the services use; can be stopped between two transactions."""
    async with SteppedDatabase(database_urls.service, clock=SystemClock(), size=8) as opened:
        yield opened


@pytest.fixture
async def observer(database_urls: DatabaseUrls) -> AsyncGenerator[Database]:
    """Looks that never wait for the connections that a test holds."""
    async with Database(database_urls.service, clock=SystemClock(), size=2) as opened:
        yield opened


@pytest.fixture
async def bench(stepped: SteppedDatabase, tmp_path: Path) -> Bench:
    """The services."""
    return await make_bench(stepped, tmp_path)
