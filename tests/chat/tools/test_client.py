"""Servers of tools are asked by the guarded client alone, and nothing is sent before it is permitted."""

from collections.abc import AsyncGenerator, Generator

import pytest

from tests.servers.tool_server import ToolServer, running_tool_server
from undercroft.chat.tools.client import ToolClient
from undercroft.chat.tools.errors import ToolNotAllowedError, ToolServerError
from undercroft.chat.tools.models import RemoteServer
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy, EgressSettings
from undercroft.kit.errors import InvalidRequestError

OPEN = EgressPolicy.of_tools(
    EgressSettings(tool_private_networks=("127.0.0.0/8",), egress_allow_http=True)
)
CLOSED = EgressPolicy(allow_http=True)


@pytest.fixture(scope="module")
def server() -> Generator[ToolServer]:
    with running_tool_server() as running:
        yield running


@pytest.fixture
async def client() -> AsyncGenerator[ToolClient]:
    async with open_guarded_client(OPEN) as session:
        yield ToolClient(session, OPEN)


def remote(server: ToolServer, path: str = "mcp", host: str = "127.0.0.1") -> RemoteServer:
    return RemoteServer("port", server.url(path).replace("127.0.0.1", host))


def next_sent(server: ToolServer) -> str:
    """What was sent next; a call that was given up may have come before it."""
    while True:
        call = server.next_call()
        if call["what"] == "send":
            return str(call["text"])


async def allow() -> None:
    """Nothing stands against it."""


async def refuse() -> None:
    raise ToolNotAllowedError("because")


async def test_what_leads_inside_is_not_asked(server: ToolServer, client: ToolClient) -> None:
    async def look_up(host: str) -> list[str]:
        assert host == "tools.example.org"
        return ["127.0.0.1"]

    async with open_guarded_client(CLOSED, look_up) as session:
        guarded = ToolClient(session, CLOSED)
        with pytest.raises(InvalidRequestError, match="not public") as refused:
            guarded.check(remote(server))
        assert (refused.value.param, refused.value.code) == ("tools", "url_not_allowed")
        # A name says nothing before it is looked up; what it leads to is asked at each connection.
        named = remote(server, host="tools.example.org")
        guarded.check(named)
        with pytest.raises(InvalidRequestError, match="not public"):
            await guarded.list_tools(named)
        with pytest.raises(InvalidRequestError, match="not public"):
            await guarded.call(named, "send", {"text": "never"}, allow)
    await client.call(remote(server), "send", {"text": "the first"}, allow)
    assert next_sent(server) == "the first"


async def test_a_redirect_is_not_followed(server: ToolServer, client: ToolClient) -> None:
    with pytest.raises((ToolServerError, InvalidRequestError), match=r"307|redirect"):
        await client.list_tools(remote(server, "redirect"))


async def test_nothing_is_sent_that_is_not_permitted(
    server: ToolServer, client: ToolClient
) -> None:
    with pytest.raises(ToolNotAllowedError):
        await client.call(remote(server), "send", {"text": "never"}, refuse)
    await client.call(remote(server), "send", {"text": "the first"}, allow)
    assert next_sent(server) == "the first"


async def test_a_call_has_a_deadline(server: ToolServer) -> None:
    async with open_guarded_client(OPEN) as session:
        with pytest.raises(ToolServerError, match="in time"):
            await ToolClient(session, OPEN, 0.2).call(remote(server), "hold", {}, allow)


async def test_only_what_is_allowed_is_listed(server: ToolServer, client: ToolClient) -> None:
    everything = {tool.name for tool in await client.list_tools(remote(server))}
    assert everything == {"send", "weather", "fail", "huge", "hold"}
    some = RemoteServer("port", server.url(), {}, frozenset({"weather", "none"}))
    (weather,) = await client.list_tools(some)
    assert weather.annotations is not None
    assert weather.annotations["readOnlyHint"] is True
    assert weather.input_schema["properties"].keys() == {"text"}


@pytest.mark.parametrize(
    ("path", "reason", "pages"),
    [
        ("long", "more than 524,288 bytes", 6),
        ("crowd", "more than 128 tools", 2),
        ("wordy", "too great length", 3),
        ("deep", "too great length", 1),
    ],
)
async def test_a_list_is_bounded_over_all_of_its_pages(
    server: ToolServer, client: ToolClient, path: str, reason: str, pages: int
) -> None:
    with pytest.raises(ToolServerError, match=reason):
        await client.list_tools(remote(server, path))
    await client.call(remote(server), "send", {"text": path}, allow)
    asked = 0
    while (call := server.next_call())["what"] != "send":
        asked += call["what"] == "page"
    assert asked == pages


async def test_what_a_server_was_asked_with_is_in_nothing_that_it_says(
    server: ToolServer, client: ToolClient
) -> None:
    secrets = ("tok-0123456789abcdef", "p4th-4815162342", "qu3ry 4815162342")
    token, part, key = secrets
    url = server.url(f"telling/{part}?key={key.replace(' ', '%20')}")
    telling = RemoteServer("port", url, {"Authorization": f"Bearer {token}"})
    # The other one has its name from a secret, and no other that it could be called by.
    (tool,) = await client.list_tools(telling)
    outcome = await client.call(telling, "look", {}, allow)
    said = f"{tool} {outcome.output}"
    assert (tool.name, tool.input_schema["type"]) == ("look", "object")
    assert "/telling/[secret]?key=[secret]" in said
    for secret in (*secrets, key.replace(" ", "%20")):
        assert secret not in said
