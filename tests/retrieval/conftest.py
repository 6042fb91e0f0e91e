"""The prepared model, an embeddings server over it in a process of its own, and a shelf of documents."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from tests.loaded_once import prepared_models
from tests.retrieval.reranking.cross_encoder import write_cross_encoder
from tests.servers.embeddings_server import KEY
from tests.shelf import Shelf, open_shelf
from undercroft.kit.clock import SystemClock
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.embedding.local import OnnxEmbedder
from undercroft.retrieval.embedding.models import MINILM
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.embedding.remote import RemoteEmbedder
from undercroft.retrieval.minilm.files import MinilmFiles, locate_minilm
from undercroft.retrieval.reranking.local import OnnxReranker

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where the model is prepared."""
    return prepared_models()


@pytest.fixture(scope="session")
def minilm(models_dir: Path) -> MinilmFiles:
    """The prepared model."""
    return locate_minilm(models_dir)


@pytest.fixture(scope="session")
def embeddings_url(models_dir: Path) -> Generator[str]:
    """Base URL, with ``/v1``, of a real server in a process of its own."""
    command = [sys.executable, "-m", "tests.servers.embeddings_server", str(models_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        assert port, "the embeddings server did not start"
        yield f"http://127.0.0.1:{port}/v1"
        process.terminate()


@pytest.fixture
async def onnx_embedder(minilm: MinilmFiles) -> AsyncGenerator[OnnxEmbedder]:
    """The built-in embedder."""
    embedder = await OnnxEmbedder.load(minilm, threads=1)
    yield embedder
    await embedder.close()


@pytest.fixture
async def http_session() -> AsyncGenerator[aiohttp.ClientSession]:
    """An HTTP client of this test's own."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def remote_embedder(
    embeddings_url: str, http_session: aiohttp.ClientSession
) -> RemoteEmbedder:
    """The remote embedder, over the real server."""
    return RemoteEmbedder(
        http_session,
        embeddings_url,
        SecretStr(KEY),
        MINILM,
        clock=SystemClock(),
        jitter=lambda: 0.0,
    )


@pytest.fixture(params=["onnx", "remote"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    """Each implementation of the seam in turn."""
    chosen: Embedder = request.getfixturevalue(f"{request.param}_embedder")
    return chosen


@pytest.fixture(scope="session")
def reranking_url() -> Generator[str]:
    """The address of a real server in a process of its own."""
    command = [sys.executable, "-m", "tests.servers.reranking_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        assert port, "the reranking server did not start"
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture
async def onnx_reranker(tmp_path: Path) -> AsyncGenerator[OnnxReranker]:
    """A cross-encoder from the operator's folder."""
    folder = write_cross_encoder(tmp_path / "cross-encoder")
    reranker = await OnnxReranker.load(folder, threads=1, seconds=20.0)
    yield reranker
    await reranker.close()


@pytest.fixture
async def shelf(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncGenerator[Shelf]:
    """Documents and their index, with every real part and no worker."""
    async with open_shelf(database_urls, tmp_path / "blobs") as opened:
        yield opened
