"""The client that calls out takes no proxy and no cookie from anywhere, and bounds its connections."""

import pytest
from aiohttp import web

from undercroft.kit.egress import open_client


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
