"""The remote reranker against a real server that fails in every way a server can."""

import socket
from typing import Any, Literal

import aiohttp
import pytest
from pydantic import SecretStr

from tests.clocks import SetClock
from tests.servers.reranking_server import KEY
from undercroft.kit.circuit import FAILURES, REST_SECONDS
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError
from undercroft.retrieval.reranking.remote import RemoteReranker

TEXTS = ["the mill", "the clock"]


class Remote:
    """Makes rerankers for one server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.clock = SetClock()

    def reranker(
        self,
        fault: str,
        api: Literal["cohere", "tei"] = "cohere",
        *,
        key: str = KEY,
        seconds: float = 20.0,
    ) -> RemoteReranker:
        return RemoteReranker(
            self._session,
            f"{self.url}/{fault}",
            SecretStr(key),
            f"fault:{fault}" if api == "cohere" else None,
            api=api,
            location="external",
            seconds=seconds,
            clock=self.clock,
        )

    async def requests(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self.url}/requests") as response:
            found: list[dict[str, Any]] = await response.json()
            return found


@pytest.fixture
def remote(http_session: aiohttp.ClientSession, reranking_url: str) -> Remote:
    return Remote(http_session, reranking_url)


@pytest.mark.parametrize("api", ["cohere", "tei"])
@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("missing", "exactly one"),
        ("twice", "exactly one"),
        ("outside", "exactly one"),
        ("negative", "other than a list"),
        ("not-finite", "no number"),
        ("other-shape", "other than a list"),
        ("huge", "more than"),
        ("redirect", "status 307"),
        ("status-400", "status 400"),
        ("status-401", "status 401"),
    ],
)
async def test_an_answer_that_is_wrong_is_not_believed(
    remote: Remote, api: Literal["cohere", "tei"], fault: str, complaint: str
) -> None:
    with pytest.raises(UndercroftError, match=complaint) as caught:
        await remote.reranker(fault, api).score("mill", TEXTS)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED
    assert KEY not in str(caught.value)
    assert "secret-of-the-server" not in str(caught.value)


@pytest.mark.parametrize("fault", ["status-429", "status-500", "status-503", "drop"])
async def test_a_server_in_trouble_is_unavailable(remote: Remote, fault: str) -> None:
    with pytest.raises(UnavailableError):
        await remote.reranker(fault).score("mill", TEXTS)


async def test_a_late_answer_is_not_waited_for(remote: Remote) -> None:
    with pytest.raises(UnavailableError):
        await remote.reranker("hang", seconds=0.05).score("mill", TEXTS)


async def test_a_server_that_is_not_there_is_unavailable(
    http_session: aiohttp.ClientSession,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(UnavailableError):
        await Remote(http_session, f"http://127.0.0.1:{port}").reranker("none").score("mill", TEXTS)


async def test_the_key_and_the_model_are_sent(remote: Remote) -> None:
    with pytest.raises(UndercroftError, match="status 401"):
        await remote.reranker("none", key="sk-wrong").score("mill", TEXTS)
    await remote.reranker("none").score("who", TEXTS)
    assert (await remote.requests())[-1] == {
        "model": "fault:none",
        "query": "who",
        "documents": TEXTS,
        "top_n": 2,
    }


async def test_a_server_that_keeps_failing_is_left_alone_for_a_while(remote: Remote) -> None:
    reranker = remote.reranker("status-500")
    before = len(await remote.requests())
    for _ in range(FAILURES + 3):
        with pytest.raises(UnavailableError):
            await reranker.score("mill", TEXTS)
    assert len(await remote.requests()) == before + FAILURES
    remote.clock.seconds += REST_SECONDS
    with pytest.raises(UnavailableError):
        await reranker.score("mill", TEXTS)
    assert len(await remote.requests()) == before + FAILURES + 1
