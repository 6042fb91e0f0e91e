"""Rerankers of every kind."""

import aiohttp
import pytest
from pydantic import SecretStr

from tests.clocks import SetClock
from tests.servers.reranking_server import KEY
from undercroft.retrieval.reranking.protocol import Reranker
from undercroft.retrieval.reranking.remote import RemoteReranker


@pytest.fixture
async def cohere_reranker(
    reranking_url: str, http_session: aiohttp.ClientSession
) -> RemoteReranker:
    """Of Cohere's API."""
    return RemoteReranker(
        http_session,
        f"{reranking_url}/none",
        SecretStr(KEY),
        "rerank-3",
        api="cohere",
        location="external",
        seconds=20.0,
        clock=SetClock(),
    )


@pytest.fixture
async def tei_reranker(reranking_url: str, http_session: aiohttp.ClientSession) -> RemoteReranker:
    """Of TEI."""
    return RemoteReranker(
        http_session,
        f"{reranking_url}/none/",
        SecretStr(KEY),
        None,
        api="tei",
        location="local",
        seconds=20.0,
        clock=SetClock(),
    )


@pytest.fixture(params=["cohere", "tei", "onnx"])
def reranker(request: pytest.FixtureRequest) -> Reranker:
    """Each implementation of the seam in turn."""
    chosen: Reranker = request.getfixturevalue(f"{request.param}_reranker")
    return chosen
