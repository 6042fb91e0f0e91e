"""The service's own worker is started again, whatever ended it or kept it from starting."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from undercroft.commands import serve
from undercroft.commands.parent import READY_LINE
from undercroft.kit.settings import Settings

_PROGRAM = f"""#!/bin/sh
echo '{READY_LINE}'
exec cat
"""
"""A worker as far as its parent sees: says that it is ready, and ends with standard input."""


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Another process's progress can only be asked for."""
    async with asyncio.timeout(60):
        while not await is_so():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


async def test_a_worker_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(serve, "_RESTART_SECONDS", 0.01)
    with capture_logs() as logs:
        async with serve._running_worker(Settings(data_dir=tmp_path)) as worker:

            async def has_failed() -> bool:
                return [entry["event"] for entry in logs[:1]] == ["worker_not_started"]

            async def is_ready() -> bool:
                return await worker.describe() is None

            await _until(has_failed)
            assert not await is_ready()
            unfinished = tmp_path / "unfinished"
            unfinished.write_text(_PROGRAM, encoding="utf-8")
            unfinished.chmod(0o700)
            unfinished.rename(program)
            await _until(is_ready)


@pytest.mark.parametrize(
    ("trusted", "scheme"), [((), "http"), (("10.0.0.0/8",), "https"), (("192.0.2.1",), "http")]
)
async def test_only_a_trusted_proxy_says_how_the_client_came(
    trusted: tuple[str, ...], scheme: str
) -> None:
    seen: list[Any] = []

    async def application(request: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own types
        del receive, send
        seen.append(request["scheme"])

    settings = Settings(trusted_proxies=trusted)
    configuration = serve._uvicorn_config(settings, application)  # pyright: ignore[reportArgumentType] - any ASGI application
    configuration.load()
    loaded: Any = configuration.loaded_app
    request = {
        "type": "http",
        "scheme": "http",
        "client": ("10.1.2.3", 1),
        "headers": [(b"x-forwarded-proto", b"https")],
    }
    await loaded(request, None, None)
    assert seen == [scheme]
