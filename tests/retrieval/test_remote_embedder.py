"""The remote embedder against a real server that fails in every way a server can."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any
from uuid import uuid4

import aiohttp
import numpy as np
import pytest
from pydantic import SecretStr

from tests.servers.embeddings_server import KEY
from undercroft.kit.clock import SystemClock
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError
from undercroft.retrieval.embedding.local import OnnxEmbedder
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.embedding.remote import RemoteEmbedder, RemoteLimits

TEXTS = ["rent is due", "the glacier retreats", "a happy dog"]


class Remote:
    """Makes embedders for one server, and records how long they pause instead of pausing."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.pauses: list[float] = []

    def embedder(
        self, fault: str, *, key: str = KEY, limits: RemoteLimits | None = None
    ) -> RemoteEmbedder:
        model = EmbeddingModel(f"fault:{fault}:{uuid4().hex}", 384, 256)
        return RemoteEmbedder(
            self._session,
            self.url,
            SecretStr(key),
            model,
            clock=SystemClock(),
            jitter=lambda: 1.0,
            sleep=self._sleep,
            limits=limits,
        )

    async def requests(self, embedder: RemoteEmbedder) -> list[dict[str, Any]]:
        query = {"model": embedder.model.name}
        async with self._session.get(f"{self.url}/requests", params=query) as response:
            requests: list[dict[str, Any]] = await response.json()
            return requests

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def remote(http_session: aiohttp.ClientSession, embeddings_url: str) -> Remote:
    return Remote(http_session, embeddings_url)


async def _refused(call: Awaitable[object]) -> UndercroftError:
    with pytest.raises(UndercroftError) as caught:
        await call
    assert KEY not in str(caught.value)
    assert "secret-of-the-server" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("form", ["none", "numbers", "reversed", "unnormalised"])
async def test_every_valid_form_gives_the_same_vectors(
    remote: Remote, onnx_embedder: OnnxEmbedder, form: str
) -> None:
    expected = await onnx_embedder.embed(TEXTS)
    np.testing.assert_allclose(await remote.embedder(form).embed(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("missing", "exactly one"),
        ("twice", "exactly one"),
        ("not-finite", "direction"),
        ("overflow", "direction"),
        ("zero", "direction"),
        ("short", "384 dimensions"),
        ("short-numbers", "384 dimensions"),
        ("not-base64", "base64"),
        ("other-shape", "other than a list"),
        ("huge", "more than"),
        ("redirect", "status 307"),
        ("status:9:400:", "status 400"),
        ("status:9:404:", "status 404"),
    ],
)
async def test_an_answer_that_is_wrong_fails_without_a_retry(
    remote: Remote, fault: str, complaint: str
) -> None:
    embedder = remote.embedder(fault)
    error = await _refused(embedder.embed(TEXTS))
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert complaint in error.message
    assert len(await remote.requests(embedder)) == 1


async def test_a_wrong_key_fails_and_is_not_shown(remote: Remote) -> None:
    error = await _refused(remote.embedder("none", key="sk-wrong").embed(TEXTS))
    assert error.kind is ErrorKind.UPSTREAM_FAILED
    assert "sk-wrong" not in repr(error)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_passing_failure_is_retried_with_growing_pauses(
    remote: Remote, status: int
) -> None:
    assert (await remote.embedder(f"status:3:{status}:").embed(TEXTS)).shape == (3, 384)
    assert remote.pauses == [0.5, 1.0, 2.0]


async def test_a_dropped_connection_is_retried(remote: Remote) -> None:
    embedder = remote.embedder("drop")
    assert (await embedder.embed(TEXTS)).shape == (3, 384)
    assert len(await remote.requests(embedder)) == 2


async def test_a_lasting_failure_ends_after_the_last_attempt(remote: Remote) -> None:
    embedder = remote.embedder("status:99:503:")
    assert (await _refused(embedder.embed(TEXTS))).kind is ErrorKind.UNAVAILABLE
    assert len(await remote.requests(embedder)) == 4


@pytest.mark.parametrize(("header", "low", "high"), [("7", 7.5, 7.5), ("date", 15.0, 30.6)])
async def test_retry_after_is_honoured(
    remote: Remote, header: str, low: float, high: float
) -> None:
    await remote.embedder(f"status:1:429:{header}").embed(TEXTS)
    assert low <= remote.pauses[0] <= high


async def test_a_pause_beyond_the_deadline_is_passed_on(remote: Remote) -> None:
    error = await _refused(remote.embedder("status:9:429:900").embed(TEXTS))
    assert error.retry_after == 900
    assert remote.pauses == []


@pytest.mark.parametrize("header", ["soon", "-1", "1" * 400, "Mon, 99 Foo 99999999 99:99:99 GMT"])
async def test_nonsense_in_retry_after_is_ignored(remote: Remote, header: str) -> None:
    await remote.embedder(f"status:1:429:{header.replace(':', '-')}").embed(TEXTS)
    assert remote.pauses == [0.5]


async def test_a_server_that_hangs_runs_into_the_deadline(remote: Remote) -> None:
    limits = RemoteLimits(attempts=2, attempt_seconds=0.2, deadline_seconds=5.0)
    error = await _refused(remote.embedder("hang", limits=limits).embed(TEXTS))
    assert error.kind is ErrorKind.UNAVAILABLE


async def test_a_server_that_is_not_there_is_unavailable(remote: Remote) -> None:
    with socket.socket() as reserved:  # Bound and not listening: nobody else can answer there.
        reserved.bind(("127.0.0.1", 0))
        remote.url = f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"
        with pytest.raises(UnavailableError):
            await remote.embedder("none").embed(TEXTS)


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (RemoteLimits(inputs=3), [3, 3, 1]),
        (RemoteLimits(characters=25), [2, 2, 2, 1]),
        (RemoteLimits(characters=1), [1] * 7),
    ],
)
async def test_requests_stay_within_their_limits(
    remote: Remote, limits: RemoteLimits, sizes: list[int]
) -> None:
    embedder = remote.embedder("none", limits=limits)
    texts = [f"rent {number:05}" for number in range(7)]
    assert (await embedder.embed(texts)).shape == (7, 384)
    requests = await remote.requests(embedder)
    assert [len(request["input"]) for request in requests] == sizes
    assert [text for request in requests for text in request["input"]] == texts


async def test_tokens_are_zero_when_the_server_does_not_say(remote: Remote) -> None:
    assert (await remote.embedder("no-usage").embed_counted(TEXTS)).tokens == 0
