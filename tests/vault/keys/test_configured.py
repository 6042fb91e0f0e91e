"""Opening the key provider: a lost key is a clear error, never a fresh one over data that nobody can read then."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeScope, Member
from tests.servers.aws import ACCESS_KEY, SECRET_KEY, needs_moto
from tests.servers.kms import Kms
from undercroft.kit.crypto.providers.aws_signature import AwsCredentialsError
from undercroft.kit.crypto.providers.key_file import KeyFileError
from undercroft.kit.crypto.providers.kms_errors import KmsError
from undercroft.kit.crypto.providers.protocol import KeyMissingError
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import LogKeys
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def with_kms(kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings with a key of KMS in them, and more."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    arn = kms.create_key()

    def make(**more: Any) -> Settings:  # noqa: ANN401 - each setting's own type
        return Settings.model_validate(
            {"data_dir": tmp_path, "kms_key_id": arn, "kms_endpoint": kms.url, **more}
        )

    return make


async def make(database: Database, settings: Settings, scope: Member) -> DataKey:
    async with (
        open_key_provider(settings, database) as provider,
        database.transaction(scope) as transaction,
    ):
        return await KeyRing(provider, IdSource()).create(transaction, scope)


async def read(
    database: Database, settings: Settings, scope: Member, key: DataKey
) -> DataKey | None:
    async with (
        open_key_provider(settings, database) as provider,
        database.transaction(scope) as transaction,
    ):
        return await KeyRing(provider, IdSource()).read(transaction, key.id)


async def open_and_close(settings: Settings, database: Database) -> None:
    async with open_key_provider(settings, database):
        pass


async def test_a_key_file_is_made_while_nothing_is_wrapped(
    settings: Settings, database: Database, make_scope: MakeScope
) -> None:
    await make_scope()
    await open_and_close(settings, database)
    settings.key_path.unlink()
    await open_and_close(settings, database)
    assert settings.key_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("wrapped", ["a tenant's key", "a log's signing key"])
async def test_a_lost_key_file_is_not_replaced_and_its_copy_can_be_put_back(
    settings: Settings, database: Database, make_scope: MakeScope, wrapped: str
) -> None:
    await make_scope()
    scope = await make_scope()
    if wrapped == "a tenant's key":
        await make(database, settings, scope)
    else:
        async with open_key_provider(settings, database) as provider:
            await LogKeys(database, provider, "test").get(scope.tenant_id)
    copy = settings.key_path.read_bytes()
    settings.key_path.unlink()
    with pytest.raises(KeyFileError, match="Put back your copy"):
        await open_and_close(settings, database)
    assert not settings.key_path.exists()
    settings.key_path.write_bytes(copy)
    settings.key_path.chmod(0o600)
    await open_and_close(settings, database)


@needs_moto
async def test_kms_wraps_and_no_key_file_is_made(
    with_kms: Callable[..., Settings], database: Database, make_scope: MakeScope
) -> None:
    scope, settings = await make_scope(), with_kms(key_provider="aws_kms")
    key = await make(database, settings, scope)
    assert await read(database, settings, scope, key) == key
    assert not settings.key_path.exists()


@needs_moto
async def test_what_kms_wrapped_asks_for_no_key_file(
    with_kms: Callable[..., Settings], database: Database, make_scope: MakeScope
) -> None:
    """Whoever moves from KMS to a key file has none yet."""
    scope = await make_scope()
    key = await make(database, with_kms(key_provider="aws_kms"), scope)
    settings = with_kms(key_provider="file")
    assert await read(database, settings, scope, key) == key
    other = await make_scope()
    await make(database, settings, other)
    settings.key_path.unlink()
    with pytest.raises(KeyFileError, match="Put back your copy"):
        await open_and_close(settings, database)


@needs_moto
async def test_what_a_key_file_wrapped_opens_beside_kms(
    with_kms: Callable[..., Settings],
    settings: Settings,
    database: Database,
    make_scope: MakeScope,
) -> None:
    scope = await make_scope()
    key = await make(database, settings, scope)
    assert await read(database, with_kms(key_provider="aws_kms"), scope, key) == key


@needs_moto
async def test_a_kms_that_is_not_set_up_is_said(
    with_kms: Callable[..., Settings],
    settings: Settings,
    database: Database,
    make_scope: MakeScope,
) -> None:
    scope = await make_scope()
    key = await make(database, with_kms(key_provider="aws_kms"), scope)
    with pytest.raises(KeyMissingError, match="kms_key_id"):
        await read(database, settings, scope, key)


@needs_moto
async def test_a_kms_that_refuses_stops_the_start(
    with_kms: Callable[..., Settings], kms: Kms, database: Database
) -> None:
    kms.behave("denied")
    with pytest.raises(KmsError, match="Allow kms:Encrypt and kms:Decrypt"):
        await open_and_close(with_kms(key_provider="aws_kms"), database)
    await open_and_close(with_kms(key_provider="file"), database)


@needs_moto
async def test_missing_credentials_stop_the_start(
    with_kms: Callable[..., Settings], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AwsCredentialsError, match="AWS_SECRET_ACCESS_KEY is not set"):
        await open_and_close(with_kms(key_provider="aws_kms"), database)


@needs_moto
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_hundred_requests_of_a_tenant_ask_kms_once_or_as_often_as_they_meet(
    with_kms: Callable[..., Settings],
    kms: Kms,
    database: Database,
    make_scope: MakeScope,
    at_once: bool,
) -> None:
    scope, settings = await make_scope(), with_kms(key_provider="aws_kms")
    kms.behave()
    key = await make(database, settings, scope)
    # At the start to see that it works, and for the tenant's key: each encrypts, and sees that it opens. Opened once.
    assert kms.calls() == {"Encrypt": 2, "Decrypt": 3}
    async with open_key_provider(settings, database) as provider:
        keys = KeyRing(provider, IdSource())

        async def request() -> None:
            async with database.transaction(scope) as transaction:
                assert await keys.read(transaction, key.id) == key

        kms.behave()
        if at_once:
            await asyncio.gather(*(request() for _ in range(100)))
            assert 1 <= kms.calls()["Decrypt"] <= 8  # connections in the pool
        else:
            for _ in range(100):
                await request()
            assert kms.calls() == {"Decrypt": 1}
