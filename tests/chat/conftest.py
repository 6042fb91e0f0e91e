"""A shelf of documents to be asked about."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.shelf import Shelf, open_shelf
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.settings import Settings
from undercroft.retrieval.minilm.prepare import prepare_minilm


@pytest.fixture
async def shelf(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncGenerator[Shelf]:
    """Documents and their index, with every real part and no worker."""
    models_dir: Path = Settings.model_fields["models_dir"].default
    prepare_minilm(models_dir, progress=lambda _: None)
    async with open_shelf(database_urls, tmp_path / "blobs", models_dir) as opened:
        yield opened
