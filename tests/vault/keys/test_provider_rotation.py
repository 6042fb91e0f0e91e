"""Moves between keepers of keys, under a service that goes on: nothing is unreadable at any moment, or lost."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeScope, Member
from tests.servers.aws import ACCESS_KEY, SECRET_KEY, needs_moto
from tests.servers.kms import Kms
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.providers.protocol import KeyProvider, KeyUnavailableError
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.service import Ledger
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.rotation import KeyRotation
from undercroft.vault.keys.service import KeyRing

pytestmark = needs_moto
IDS = IdSource()
TENANTS = 4


def unheard(done: int, total: int) -> None:
    assert done <= total


def rotation(database: Database, provider: KeyProvider) -> KeyRotation:
    ledger = Ledger(database, IDS, SystemClock())
    return KeyRotation(database, provider, LogKeys(database, provider, "test"), ledger, IDS)


@dataclass
class House:
    """Tenants with a data key and a signing key each."""

    database: Database
    settings: Settings
    made: dict[Member, DataKey] = field(default_factory=dict)

    def configured(self, **changes: Any) -> Settings:  # noqa: ANN401 - each setting's own type
        return Settings.model_validate({**self.settings.model_dump(exclude_unset=True), **changes})

    async def fill(self, settings: Settings, make_scope: MakeScope) -> None:
        async with open_key_provider(settings, self.database) as provider:
            keys = KeyRing(provider, IDS)
            for _ in range(TENANTS):
                scope = await make_scope()
                async with self.database.transaction(scope) as transaction:
                    self.made[scope] = await keys.create(transaction, scope)
                await LogKeys(self.database, provider, "test").get(scope.tenant_id)

    async def check(self, keys: KeyRing, provider: KeyProvider) -> None:
        """All is readable."""
        for scope, made in self.made.items():
            async with self.database.transaction(scope) as transaction:
                assert await keys.read(transaction, made.id) == made
            await LogKeys(self.database, provider, "test").get(scope.tenant_id)

    async def check_opened(self, settings: Settings) -> None:
        """All is readable by a process that starts now."""
        async with open_key_provider(settings, self.database) as provider:
            await self.check(KeyRing(provider, IDS), provider)

    async def rotate(self, settings: Settings) -> int:
        """As the command does; how many tenants it told of."""
        told: list[int] = []
        async with open_key_provider(settings, self.database) as provider:
            await rotation(self.database, provider).rotate_provider(
                lambda done, _: told.append(done)
            )
            assert not await rotation(self.database, provider).needs_former_keys()
        return len(told)


@pytest.fixture
def house(kms: Kms, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    settings = Settings(
        data_dir=tmp_path,
        kms_key_id=kms.create_key(),
        kms_other_key_ids=(kms.create_key(),),
        kms_endpoint=kms.url,  # pyright: ignore[reportArgumentType] # pydantic makes it an address
    )
    return House(database, settings)


async def test_from_a_file_to_kms_to_another_key_and_back(
    house: House, make_scope: MakeScope
) -> None:
    first, (second,) = house.settings.kms_key_id, house.settings.kms_other_key_ids
    in_file = house.configured(key_provider="file")
    in_kms = house.configured(key_provider="aws_kms")
    in_other = house.configured(
        key_provider="aws_kms", kms_key_id=second, kms_other_key_ids=(first,)
    )
    await house.fill(in_file, make_scope)
    # A service that was started before any of this, and is not started again.
    async with open_key_provider(in_file, house.database) as serving:
        keys = KeyRing(serving, IDS)
        await house.check(keys, serving)
        for target in (in_kms, in_other, in_file):
            await house.check_opened(target)
            assert await house.rotate(target) == TENANTS
            await house.check(keys, serving)
            await house.check_opened(in_file)
    # Each of them alone is enough for what was moved to it.
    alone = Settings(data_dir=house.settings.data_dir)
    await house.check_opened(alone)
    await house.rotate(in_other)
    house.settings.key_path.unlink()
    await house.check_opened(in_other.model_copy(update={"kms_other_key_ids": ()}))


@pytest.mark.parametrize("fault", ["denied", "drop", "no json", "another plaintext"])
@pytest.mark.parametrize("after", [1, 4, 7])
async def test_what_broke_off_is_finished_and_nothing_is_lost_meanwhile(
    house: House, kms: Kms, make_scope: MakeScope, fault: str, after: int
) -> None:
    in_file = house.configured(key_provider="file")
    in_kms = house.configured(key_provider="aws_kms")
    await house.fill(in_file, make_scope)
    async with open_key_provider(in_kms, house.database) as provider:
        kms.behave(fault, after=after)
        with pytest.raises(KeyUnavailableError):
            await rotation(house.database, provider).rotate_provider(unheard)
    kms.behave()
    await house.check_opened(in_file)
    await house.check_opened(in_kms)
    kms.behave()
    assert await house.rotate(in_kms) == TENANTS
    # For the start, and two for each tenant; less what was done before. Each was seen to open once before it was kept.
    assert kms.calls()["Encrypt"] == kms.calls()["Decrypt"] == 1 + 2 * TENANTS - after // 2
    house.settings.key_path.unlink()
    await house.check_opened(in_kms)


async def test_a_key_that_was_lost_meanwhile_is_told_of_and_the_file_is_left(
    house: House, make_scope: MakeScope
) -> None:
    in_file = house.configured(key_provider="file")
    await house.fill(in_file, make_scope)
    path = house.settings.key_path
    copy = path.read_bytes()
    path.unlink()
    in_kms = house.configured(key_provider="aws_kms")
    async with open_key_provider(in_kms, house.database) as provider:
        with pytest.raises(KeyUnavailableError):
            await rotation(house.database, provider).rotate_provider(unheard)
    assert not path.exists()
    path.write_bytes(copy)
    path.chmod(0o600)
    assert await house.rotate(in_kms) == TENANTS
    await KeyFile.open(path)
    await house.check_opened(in_kms)
