"""Behind nginx with its defaults, which buffer, a stream arrives as it is made.

To nginx the service answers in chunks, which this nginx passes on even where it buffers. A second nginx behind the
first gets no chunks, as the first speaks HTTP/1.0 to it: there the header ``X-Accel-Buffering`` alone decides.
"""

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Service
from tests.e2e.sockets import open_socket
from tests.servers.model_server import ModelServer

pytestmark = pytest.mark.needs("nginx")

CHAT: Final[dict[str, Any]] = {"messages": [{"role": "user", "content": "Hello?"}]}
_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_CONFIGURATION: Final = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    {temporary}
    server {{
        listen 127.0.0.1:{port};
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        location / {{ proxy_pass {url}; }}
        location = /v1/responses {{
            proxy_pass {url};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
        }}
        location /first/ {{
            proxy_pass {url}/;
            proxy_pass_header X-Accel-Buffering;
        }}
        location /second/ {{ proxy_pass http://127.0.0.1:{port}/first/; }}
        location /deaf/ {{
            proxy_pass http://127.0.0.1:{port}/first/;
            proxy_ignore_headers X-Accel-Buffering;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def proxy(upstream_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of an nginx before the service."""
    folder = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                # Its workers would change to another user, who may not enter the folder.
                user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
                folder=folder,
                temporary="\n    ".join(
                    f"{name}_temp_path {folder}/{name};" for name in _TEMPORARY
                ),
                port=port,
                url=upstream_service.url,
            )
        )
        process = start_nginx(configuration, listener)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def start_nginx(configuration: Path, listener: socket.socket) -> subprocess.Popen[bytes]:
    """Start nginx on a socket that listens already, as it hands its own to a new version of itself.

    So its port is free for certain, and nobody has to wait until it is up.
    """
    program = shutil.which("nginx")
    assert program is not None
    return subprocess.Popen(
        [program, "-p", str(configuration.parent), "-c", str(configuration)],
        env={**os.environ, "NGINX": f"{listener.fileno()};"},
        pass_fds=[listener.fileno()],
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
async def http(upstream_service: Service) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        headers={"Authorization": f"Bearer {upstream_service.key}", "Accept-Encoding": "gzip, br"},
        timeout=60,
    ) as client:
        yield client


@pytest.mark.parametrize("location", ["", "/second"])
@pytest.mark.parametrize(
    ("path", "question"), [("/v1/responses", {"input": "Hello?"}), ("/v1/chat/completions", CHAT)]
)
async def test_the_first_token_is_here_before_the_second_is_made(
    http: httpx.AsyncClient,
    proxy: str,
    model_server: ModelServer,
    location: str,
    path: str,
    question: dict[str, Any],
) -> None:
    body = {"model": "held", "stream": True, **question}
    async with http.stream("POST", proxy + location + path, json=body) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert "Content-Encoding" not in answer.headers
        lines = answer.aiter_lines()
        async for line in lines:
            if "first" in line:
                break
        assert (await model_server.seen()).running == 1
        await model_server.release()
        rest = [line async for line in lines]
    assert any("second" in line for line in rest)
    assert "data: [DONE]" in rest


async def test_a_socket_goes_through_as_the_documentation_has_it(
    upstream_service: Service, proxy: str, model_server: ModelServer
) -> None:
    async with open_socket(proxy, upstream_service.key) as socket:
        await socket.ask(model="held", input="Hello?")
        await socket.until(lambda event: "first" in event.get("delta", ""))
        assert (await model_server.seen()).running == 1
        await model_server.release()
        assert (await socket.until_end())[-1]["type"] == "response.completed"
        await socket.ask(model="stall", input="Hello?", store=False)
        await model_server.until(lambda seen: seen.running == 1)
    await model_server.until(lambda seen: seen.cancelled == 1)


async def test_a_proxy_that_does_not_heed_the_header_holds_the_stream_back(
    http: httpx.AsyncClient, proxy: str, model_server: ModelServer
) -> None:
    """The test above can fail."""
    body = {"model": "held", "stream": True, **CHAT}
    received: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(read_lines(http, f"{proxy}/deaf/v1/chat/completions", body, received))
        await model_server.until(lambda seen: seen.running == 1)
        # A second stream, asked for later, has its first token: that of the first one would have been here before.
        async with http.stream("POST", f"{proxy}/second/v1/chat/completions", json=body) as heeded:
            async for line in heeded.aiter_lines():
                if "first" in line:
                    break
            before = list(received)
            await model_server.release()
    assert not any("first" in line for line in before)
    assert any("first" in line for line in received)


async def read_lines(
    http: httpx.AsyncClient, url: str, body: dict[str, Any], received: list[str]
) -> None:
    async with http.stream("POST", url, json=body) as answer:
        async for line in answer.aiter_lines():
            received.append(line)  # noqa: PERF401 - seen while the stream is open


async def test_a_stream_says_that_it_must_not_be_held_or_changed(
    http: httpx.AsyncClient, upstream_service: Service
) -> None:
    body = {"model": "echo", "input": "Hello?", "stream": True}
    answer = await http.post(f"{upstream_service.url}/v1/responses", json=body)
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert "Content-Encoding" not in answer.headers
