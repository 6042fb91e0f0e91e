"""A real service in processes of its own, and its real clients."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.conformance import Conformance, examining
from tests.servers.model_server import KEY, ModelServer, running_model_server
from tests.service_database import lay_database
from undercroft.commands.keys import create_key
from undercroft.identity.models import Role
from undercroft.kit.settings import load_settings

SAMPLES: Final = Path(__file__).parents[2] / "samples" / "documents"
_START_SECONDS: Final = 200.0
_STOP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    key: str

    def log(self) -> str:
        """What it has written so far, all its processes together."""
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text()

    @contextmanager
    def client(self, key: str | None = None) -> Generator[OpenAI]:
        """The unmodified SDK, pointed at this service; closed, so that no later test collects its connections."""
        with OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0) as client:
            yield client

    def make_key(self, tenant: str, user: str, role: str = "member") -> str:
        """A key made beside the running service."""
        return make_key(self.data_dir, tenant, user, role)


def make_key(
    data_dir: Path,
    tenant: str,
    user: str,
    role: str = "member",
    settings: Mapping[str, str] | None = None,
) -> str:
    """A key as the command line makes one; here, for a process of its own takes a processor's second each time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (settings or {}).items():
            patch.setenv(name, value)
        loaded = load_settings(data_dir=data_dir)
    making = create_key(loaded, tenant, user, Role(role), None)
    # A thread has no event loop, whatever the test has.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, making).result(timeout=_START_SECONDS)


def start_service(
    data_dir: Path, settings: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a service on a free port and wait until it is ready; its process and address."""
    lay_database(data_dir, settings or {})
    log_path = data_dir.parent / f"{data_dir.name}.log"
    with log_path.open("ab") as log:
        offset = log.tell()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "undercroft", "serve"),
                *("--port", "0", "--data-dir", str(data_dir)),
            ],
            env={**os.environ, **(settings or {})},
            stderr=log,
            stdout=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    url: str | None = None
    while time.monotonic() < deadline and process.poll() is None:
        url = url or _address(log_path, offset)
        if url is not None and _is_ready(url):
            return process, url
        # Another process's readiness can only be asked for, and to ask takes both as long as a test's own request.
        time.sleep(0.2)
    process.kill()
    process.wait()
    raise AssertionError(f"the service did not start:\n{log_path.read_text()[-4000:]}")


def stop_service(process: subprocess.Popen[bytes]) -> None:
    """Stop a service as an operator would."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=_STOP_SECONDS) == 0


def _address(log_path: Path, offset: int) -> str | None:
    with log_path.open("rb") as log:
        log.seek(offset)
        for line in log:
            if b'"event": "serving"' in line and line.endswith(b"\n"):
                return str(json.loads(line)["url"])
    return None


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def conformance() -> Generator[Conformance]:
    """What is found wrong with the responses and events that this process is sent."""
    with pytest.MonkeyPatch.context() as patch, examining(patch) as watching:
        yield watching


@pytest.fixture(autouse=True)
def all_conform(conformance: Conformance) -> Generator[None]:
    """Every response and every event that a test is sent is as the specification has it."""
    yield
    faults = conformance.faults.copy()
    conformance.faults.clear()
    assert not faults, faults[:10]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    """One service for the tests that leave it running."""
    yield from running_service(
        tmp_path_factory.mktemp("service") / "data", {"UNDERCROFT_MAX_UPLOAD_BYTES": "2000000"}
    )


@pytest.fixture(scope="session")
def upstream() -> Generator[ModelServer]:
    """The model server of ``upstream_service``; ``model_server`` is the same as new."""
    with running_model_server() as server:
        yield server


@pytest.fixture(scope="session")
def upstream_service(
    upstream: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Service]:
    """A service with a model server behind it and a proxy before it.

    ``tests/scheduling.py`` has all that ask for it run by one worker. A model that fails five times in a row rests:
    where tests make it fail more often, there are several of the kind.
    """
    yield from running_service(
        tmp_path_factory.mktemp("upstream") / "data",
        {
            "UNDERCROFT_UPSTREAM_URL": upstream.base_url,
            "UNDERCROFT_UPSTREAM_KEY": KEY,
            "UNDERCROFT_UPSTREAM_SEES": "true",
            "UNDERCROFT_TRUSTED_PROXIES": "127.0.0.1",
            # Its remote tools are on this machine.
            "UNDERCROFT_TOOL_PRIVATE_NETWORKS": "127.0.0.0/8",
            "UNDERCROFT_EGRESS_ALLOW_HTTP": "true",
            # Who leaves a stream does not come back in these tests.
            "UNDERCROFT_RESPONSE_GRACE_SECONDS": "0",
        },
    )


@pytest.fixture
async def model_server(upstream: ModelServer) -> ModelServer:
    """The same, which has seen nothing."""
    await upstream.reset()
    return upstream


@pytest.fixture
async def sdk(upstream_service: Service) -> AsyncGenerator[AsyncOpenAI]:
    """The unmodified SDK, pointed at ``upstream_service``."""
    async with AsyncOpenAI(
        base_url=f"{upstream_service.url}/v1", api_key=upstream_service.key, max_retries=0
    ) as client:
        yield client


@pytest.fixture(scope="session")
def configured_service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    """A service that is open to a browser's origin and another host, and whose model server is down."""
    folder = tmp_path_factory.mktemp("configured")
    with socket.socket() as down:
        # It never listens, so connections are refused; and as long as it is bound nobody else gets the port.
        down.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{down.getsockname()[1]}/v1"
        configuration = folder / "undercroft.toml"
        configuration.write_text(f'[[upstreams]]\nname = "down"\nurl = "{url}"\n')
        yield from running_service(
            folder / "data",
            {
                "UNDERCROFT_CONFIG": str(configuration),
                "UNDERCROFT_CORS_ORIGINS": "https://app.example.org",
                "UNDERCROFT_ALLOWED_HOSTS": "127.0.0.1,*.example.org",
            },
        )


def running_service(data_dir: Path, settings: Mapping[str, str]) -> Generator[Service]:
    process, url = start_service(data_dir, settings)
    try:
        yield Service(url, data_dir, process, make_key(data_dir, "main", "main@example.org"))
    finally:
        stop_service(process)


@pytest.fixture(scope="session")
def sample_store(service: Service) -> dict[str, Any]:
    """A vector store with three samples of the main user's: its id, and its files' ids by name."""
    with service.client() as client:
        store = client.vector_stores.create(name="samples")
        files: dict[str, str] = {}
        for name in (
            "home/tenancy-agreement-quay-street.pdf",
            "home/home-insurance-policy-2025.pdf",
            "home/broadband-faq.html",
        ):
            with (SAMPLES / name).open("rb") as file:
                added = client.vector_stores.files.upload_and_poll(
                    vector_store_id=store.id, file=file
                )
            assert added.status == "completed", added.last_error
            files[Path(name).name] = added.id
    return {"id": store.id, "files": files}
