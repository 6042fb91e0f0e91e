"""A shelf of documents to be asked about."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.shelf import Shelf, open_shelf
from undercroft.kit.postgres.server import DatabaseUrls


@pytest.fixture
async def shelf(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncGenerator[Shelf]:
    """Documents and their index, with every real part and no worker."""
    async with open_shelf(database_urls, tmp_path / "blobs") as opened:
        yield opened
