"""The key providers, each for real."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest

from tests.servers.aws import ACCESS_KEY, SECRET_KEY, needs_moto
from tests.servers.kms import Kms
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.crypto.providers.aws_kms import AwsKms
from undercroft.kit.crypto.providers.aws_signature import AwsCredentials
from undercroft.kit.crypto.providers.combined import CombinedKeyProvider
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.providers.kms_client import KmsClient, KmsLimits
from undercroft.kit.crypto.providers.kms_key import KmsKey
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.egress import open_client

TOKEN = "session-token-4f1c9e"
PATIENT = KmsLimits(attempt_seconds=20.0, deadline_seconds=60.0)
"""For what must not depend on how busy the machine is."""


class MakeKms(Protocol):
    """Makes a provider over a key of the test server's."""

    def __call__(
        self,
        arn: str,
        *former: str,
        url: str | None = None,
        limits: KmsLimits | None = None,
        clock: Clock | None = None,
    ) -> AwsKms:
        """The provider; patient unless told otherwise."""
        ...


@pytest.fixture
async def http_client() -> AsyncGenerator[aiohttp.ClientSession]:
    """The service's own client."""
    async with open_client() as client:
        yield client


@pytest.fixture
def pauses() -> list[float]:
    """How long providers would have paused."""
    return []


@pytest.fixture
def make_kms(kms: Kms, http_client: aiohttp.ClientSession, pauses: list[float]) -> MakeKms:
    """Makes providers that note their pauses instead of pausing."""

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    def make(
        arn: str,
        *former: str,
        url: str | None = None,
        limits: KmsLimits | None = None,
        clock: Clock | None = None,
    ) -> AwsKms:
        clock = clock or SystemClock()
        client = KmsClient(
            http_client,
            url or kms.url,
            AwsCredentials(ACCESS_KEY, SECRET_KEY, TOKEN),
            clock=clock,
            jitter=lambda: 1.0,
            sleep=pause,
            limits=limits or PATIENT,
        )
        return AwsKms(client, KmsKey(arn), [KmsKey(one) for one in former], clock=clock)

    return make


@pytest.fixture
async def key_path(tmp_path: Path) -> Path:
    """A key file."""
    path = tmp_path / "keys" / "provider.key"
    await KeyFile.open(path)
    return path


@pytest.fixture(
    params=[
        "file",
        pytest.param("kms", marks=needs_moto),
        pytest.param("file beside kms", marks=needs_moto),
        pytest.param("kms beside file", marks=needs_moto),
    ]
)
def new_provider(request: pytest.FixtureRequest, key_path: Path) -> Callable[[], KeyProvider]:
    """Opens another provider over the same keys, as another process would; each implementation in turn."""
    if request.param == "file":
        return lambda: KeyFile.closed(key_path)
    kms: Kms = request.getfixturevalue("kms")
    make: MakeKms = request.getfixturevalue("make_kms")
    arn = kms.create_key()

    def open_one() -> KeyProvider:
        file, remote = KeyFile.closed(key_path), make(arn)
        match request.param:
            case "kms":
                return remote
            case "file beside kms":
                return CombinedKeyProvider(file, file=file, kms=remote)
            case _:
                return CombinedKeyProvider(remote, file=file, kms=remote)

    return open_one
