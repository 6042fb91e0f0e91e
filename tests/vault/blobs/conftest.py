"""The blob stores, each for real."""

from collections.abc import Generator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers.aws import ACCESS_KEY, SECRET_KEY, needs_moto, running_moto
from undercroft.kit.ids import IdSource
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.s3 import Bucket, S3BlobStore


@pytest.fixture(scope="session")
def s3_server() -> Generator[str]:
    """The address of a server that speaks S3."""
    with running_moto() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str) -> Bucket:
    """A bucket of this test's own, and a place in it."""
    name = f"test-{IdSource().new().hex}"
    connection = HTTPConnection(urlsplit(s3_server).netloc, timeout=60)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return Bucket(name, "some/place", s3_server, "us-east-1", ACCESS_KEY, SECRET_KEY)


@pytest.fixture(params=["local", pytest.param("s3", marks=needs_moto)])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Each store in turn, empty."""
    if request.param == "local":
        return LocalBlobStore(tmp_path / "blobs")
    return S3BlobStore(request.getfixturevalue("bucket"))
