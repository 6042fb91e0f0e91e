"""Records and schemas on a database of their own."""

from pathlib import Path

import pytest

from tests.records import Cabinet, open_cabinet
from undercroft.kit.database import Database


@pytest.fixture
async def cabinet(database: Database, tmp_path: Path) -> Cabinet:
    return await open_cabinet(database, tmp_path)
