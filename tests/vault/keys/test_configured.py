"""Opening the key provider: a lost key file is a clear error, never a fresh key over data that nobody can read then."""

from pathlib import Path

import pytest

from tests.conftest import MakeScope
from undercroft.kit.crypto.providers.key_file import KeyFileError
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import LogKeys
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


async def test_a_key_file_is_made_while_nothing_is_wrapped(
    settings: Settings, database: Database, make_scope: MakeScope
) -> None:
    await make_scope()
    await open_key_provider(settings, database)
    settings.key_path.unlink()
    await open_key_provider(settings, database)
    assert settings.key_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("wrapped", ["a tenant's key", "a log's signing key"])
async def test_a_lost_key_file_is_not_replaced_and_its_copy_can_be_put_back(
    settings: Settings, database: Database, make_scope: MakeScope, wrapped: str
) -> None:
    await make_scope()
    scope = await make_scope()
    provider = await open_key_provider(settings, database)
    if wrapped == "a tenant's key":
        async with database.transaction(scope) as transaction:
            await KeyRing(provider, IdSource()).create(transaction, scope)
    else:
        await LogKeys(database, provider, "test").get(scope.tenant_id)
    copy = settings.key_path.read_bytes()
    settings.key_path.unlink()
    with pytest.raises(KeyFileError, match="Put back your copy"):
        await open_key_provider(settings, database)
    assert not settings.key_path.exists()
    settings.key_path.write_bytes(copy)
    settings.key_path.chmod(0o600)
    await open_key_provider(settings, database)
