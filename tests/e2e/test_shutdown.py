"""A service that is stopped while it answers leaves no answer behind that looks as if it were still being made."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest
import websockets.sync.client

from tests.e2e.api import read_events
from tests.e2e.conftest import make_key, start_service, stop_service
from tests.servers.model_server import KEY, ModelServer

STREAMS = 20


def told_at_the_end(socket: websockets.sync.client.ClientConnection) -> tuple[list[str], int]:
    """The errors that an idle socket tells until it is closed, and the close code."""
    told: list[str] = []
    try:
        while True:
            told.append(json.loads(socket.recv(timeout=60))["error"]["code"])
    except websockets.ConnectionClosed as closed:
        return told, closed.rcvd.code if closed.rcvd else 0


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2], ids=["drained", "cut off at once"])
def test_answers_that_a_stop_cuts_off_are_cancelled(
    upstream: ModelServer, tmp_path: Path, signals: int
) -> None:
    data_dir = tmp_path / "data"
    settings = {"UNDERCROFT_UPSTREAM_URL": upstream.base_url, "UNDERCROFT_UPSTREAM_KEY": KEY}
    process, url = start_service(data_dir, settings)
    headers = {"Authorization": f"Bearer {make_key(data_dir, 'main', 'main@example.org')}"}
    begun = threading.Barrier(STREAMS + 1, timeout=30)

    def answer_id() -> str:
        """Read a stream until it breaks off."""
        found = ""
        body = {"model": "stall", "input": "Say one word.", "stream": True}
        with httpx.stream(
            "POST", f"{url}/v1/responses", headers=headers, json=body, timeout=60
        ) as stream:
            try:
                for event in read_events(stream.iter_lines()):
                    if event["type"] == "response.created":
                        found = event["response"]["id"]
                    elif event["type"] == "response.output_text.delta":
                        begun.wait()
            except httpx.TransportError:
                return found
        return found

    with ThreadPoolExecutor(STREAMS + 1) as readers:
        answers = [readers.submit(answer_id) for _ in range(STREAMS)]
        begun.wait()
        with websockets.sync.client.connect(
            url.replace("http", "ws", 1) + "/v1/responses", additional_headers=headers, proxy=None
        ) as idle:
            waiting = readers.submit(told_at_the_end, idle)
            for _ in range(signals - 1):
                os.kill(process.pid, signal.SIGTERM)
                time.sleep(0.1)  # two signals that are pending at once are one
            stop_service(process)
            if signals == 1:
                assert waiting.result() == (["service_restarting"], 1012)
        ids = [answer.result() for answer in answers]

    process, url = start_service(data_dir, settings)
    try:
        states = [
            httpx.get(f"{url}/v1/responses/{answer}", headers=headers).json()["status"]
            for answer in ids
        ]
    finally:
        stop_service(process)
    assert states == ["cancelled"] * STREAMS
