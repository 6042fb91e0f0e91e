"""A database is brought up to date as often as one likes, and what cannot be is said in a sentence."""

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from undercroft.commands.databases import bring_up_to_date, database_pool, external_urls
from undercroft.kit.migrations import MigrationError, describe_pending
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.settings import Settings, SettingsError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


async def test_it_can_be_repeated(database_urls: DatabaseUrls, settings: Settings) -> None:
    for _ in range(2):
        assert await bring_up_to_date(database_urls, settings) == []
    async with database_pool(settings, database_urls.service, 2) as database:
        assert await describe_pending(database) is None
        async with database.transaction_without_scope() as transaction:
            models = await transaction.fetch("SELECT name, dimensions FROM embedding_models")
    assert [tuple(row) for row in models] == [("all-minilm-l6-v2", 384)]


async def test_a_model_that_changed_its_dimensions_is_refused(
    database_urls: DatabaseUrls, settings: Settings
) -> None:
    await bring_up_to_date(database_urls, settings)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute("UPDATE embedding_models SET dimensions = 7")
    finally:
        await owner.close()
    with pytest.raises(MigrationError, match="has 7 dimensions, not 384"):
        await bring_up_to_date(database_urls, settings)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"username": "nobody-of-that-name"}, "does not let its owner in"),
        ({"url": "postgresql://ann:hunter2@127.0.0.1:9/undercroft"}, "does not let its owner in"),
        ({"url": "postgresql://ann:hunter2/x@127.0.0.1/undercroft"}, "malformed"),
    ],
    ids=["wrong login", "nothing there", "unquoted password"],
)
async def test_an_owner_who_cannot_connect_is_told_why_without_a_password(
    database_urls: DatabaseUrls, settings: Settings, change: dict[str, str], reason: str
) -> None:
    url = database_urls.migration
    if "username" in change:
        url = url.replace(str(urlsplit(url).username), change["username"])
    urls = DatabaseUrls(service=database_urls.service, migration=change.get("url", url))
    with pytest.raises(MigrationError, match=reason) as refused:
        await bring_up_to_date(urls, settings)
    assert "hunter2" not in str(refused.value)


def test_both_urls_of_an_external_database_are_asked_for(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="UNDERCROFT_MIGRATION_URL"):
        external_urls(settings)
