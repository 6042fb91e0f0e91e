"""The guarded client calls what is admitted, at the address that was checked, and goes nowhere else."""

from collections.abc import Generator, Sequence
from ipaddress import ip_network
from typing import Final

import aiohttp
import pytest

from tests.servers.webhook_receiver import Receiver, running_receiver
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy, EgressRefusedError

PLAIN: Final = EgressPolicy(allow_http=True)
LOOPBACK: Final = EgressPolicy((ip_network("127.0.0.1/32"),), allow_http=True)
PUBLIC: Final = "192.0.46.9"


@pytest.fixture(scope="module")
def receiver() -> Generator[Receiver]:
    with running_receiver() as running:
        yield running


class Names:
    """A name server whose answers change."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str) -> Sequence[str]:
        assert host == "hooks.test"
        self.asked += 1
        return self._answers.pop(0)


async def test_a_name_is_looked_up_once_and_what_was_found_is_called(receiver: Receiver) -> None:
    # A second look-up would find an address where nobody is.
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with open_guarded_client(LOOPBACK, names) as client:
        url = receiver.url("take", "hooks.test")
        async with client.post(url, data=b"{}") as response:
            assert response.status == 204
    assert names.asked == 1
    assert receiver.next_message().headers["Host"] == f"hooks.test:{receiver.port}"


async def test_a_name_that_means_another_machine_a_moment_later_gains_nothing(
    receiver: Receiver,
) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"], ["10.0.0.1"])
    async with open_guarded_client(LOOPBACK, names) as client:
        url = receiver.url("take", "hooks.test")
        async with client.post(url):
            receiver.next_message()
        for _ in range(2):
            with pytest.raises(EgressRefusedError):
                await client.post(url)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC]],
)
async def test_a_name_with_an_address_inside_is_not_called(
    receiver: Receiver, addresses: list[str]
) -> None:
    async with open_guarded_client(PLAIN, Names(addresses)) as client:
        with pytest.raises(EgressRefusedError, match="not public"):
            await client.post(receiver.url("take", "hooks.test"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:7f00:1]"]
)
async def test_no_way_to_write_this_machine_is_called(receiver: Receiver, host: str) -> None:
    async with open_guarded_client(PLAIN) as client:
        with pytest.raises((EgressRefusedError, aiohttp.ClientConnectorError)):
            await client.post(receiver.url("take", host))


async def test_plain_text_is_not_sent() -> None:
    async with open_guarded_client(EgressPolicy(LOOPBACK.private_networks)) as client:
        with pytest.raises(EgressRefusedError, match="https"):
            await client.post("http://127.0.0.1:9/")


async def test_it_follows_no_redirect_even_when_asked_to(receiver: Receiver) -> None:
    async with open_guarded_client(LOOPBACK) as client:
        with pytest.raises(EgressRefusedError, match="redirects"):
            await client.post(receiver.url("redirect"), allow_redirects=True)
    assert receiver.next_message().path == "/redirect"


async def test_a_connection_is_not_kept(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    async with open_guarded_client(LOOPBACK, names) as client:
        for _ in range(2):
            async with client.post(receiver.url("take", "hooks.test")) as response:
                await response.read()
            receiver.next_message()
    assert names.asked == 2


async def test_it_takes_no_proxy_from_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with (
        open_guarded_client(LOOPBACK) as client,
        client.post(receiver.url("take")) as response,
    ):
        assert response.status == 204
    receiver.next_message()
