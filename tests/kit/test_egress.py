"""The client that calls out takes no proxy and no cookie from anywhere, and bounds its connections."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from undercroft.http.wiring.foundation import most_calls
from undercroft.kit.egress import open_client
from undercroft.kit.settings import load_settings


async def test_it_keeps_no_cookie_and_takes_no_proxy_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nothing listens there: a client that took it would fail.
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        response = web.Response()
        response.set_cookie("session", "secret")
        return response

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with open_client() as client:
            for _ in range(2):
                async with client.get(f"http://{host}:{port}/") as response:
                    assert response.status == 200
            assert client.connector is not None
            assert 0 < client.connector.limit <= 1000
    finally:
        await runner.cleanup()
    assert seen == [None, None]


async def test_as_many_as_it_was_told_are_asked_at_once() -> None:
    arrived, let_go = asyncio.Semaphore(0), asyncio.Event()

    async def hold(_: web.Request) -> web.Response:
        arrived.release()
        await let_go.wait()
        return web.Response()

    application = web.Application()
    application.router.add_get("/", hold)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1000).start()
        host, port = runner.addresses[0][:2]

        async def ask(client: aiohttp.ClientSession) -> int:
            async with client.get(f"http://{host}:{port}/") as response:
                return response.status

        # More than the default: nobody who has been admitted waits for a connection.
        async with open_client(600) as client, asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(client)) for _ in range(600)]
            async with asyncio.timeout(30):
                for _ in asked:
                    await arrived.acquire()
            let_go.set()
        assert {each.result() for each in asked} == {200}
    finally:
        let_go.set()
        await runner.cleanup()


def test_each_request_and_each_response_may_call_out() -> None:
    settings = load_settings(max_open_requests=3, max_running_responses=4)
    assert most_calls(settings) == 7
