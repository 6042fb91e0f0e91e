"""`kill -9` of the service in mid-stream: what was seen is there, what was not is made, nothing waits for ever."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.e2e.api import connect, read_events
from tests.e2e.conftest import Service, make_key, start_service, stop_service
from tests.servers.model_server import KEY, ModelServer


def read_on(http: httpx.Client, response_id: str, after: int | None) -> list[dict[str, Any]]:
    """The events after that one, to the end of the stream."""
    parameters = {"stream": "true"} | ({} if after is None else {"starting_after": str(after)})
    with http.stream("GET", f"/v1/responses/{response_id}", params=parameters) as answer:
        assert answer.status_code == 200, answer.read()
        lines = list(answer.iter_lines())
    assert [line for line in lines if line][-1] == "data: [DONE]"
    return list(read_events(lines))


def begin(http: httpx.Client, model: str, **fields: object) -> tuple[str, list[dict[str, Any]]]:
    """A response of which the first events were seen: with a text where the model says one."""
    body = {"model": model, "input": "Say one word.", "stream": True, "background": True, **fields}
    seen: list[dict[str, Any]] = []
    wanted = "response.output_text.delta" if model == "stall" else "response.in_progress"
    with http.stream("POST", "/v1/responses", json=body) as answer:
        for event in read_events(answer.iter_lines()):
            seen.append(event)
            if event["type"] == wanted:
                break
    return seen[0]["response"]["id"], seen


@pytest.mark.slow
def test_a_killed_service_loses_no_event_and_leaves_nothing_running(
    upstream: ModelServer, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    settings = {"UNDERCROFT_UPSTREAM_URL": upstream.base_url, "UNDERCROFT_UPSTREAM_KEY": KEY}
    process, url = start_service(data_dir, settings)
    key = make_key(data_dir, "main", "main@example.org")
    with connect(url, key) as http:
        shown, seen = begin(http, "stall")
        anew, said = begin(http, "stall", if_interrupted="restart")
        unseen, begun = begin(http, "never")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process, url = start_service(data_dir, settings)
    try:
        with connect(url, key) as http:
            rest = read_on(http, shown, seen[-1]["sequence_number"])
            assert [event["type"] for event in rest[-2:]] == ["error", "response.failed"]
            assert rest[-2]["code"] == "response_interrupted"
            assert [*seen, *rest] == read_on(http, shown, None)
            numbers = [event["sequence_number"] for event in [*seen, *rest]]
            assert numbers == list(range(len(numbers)))
            assert http.get(f"/v1/responses/{shown}").json()["status"] == "failed"
            assert_begun_again(http, anew, said)
            http.post(f"/v1/responses/{unseen}/cancel").raise_for_status()
            ended = read_on(http, unseen, None)
            assert ended[: len(begun)] == begun
            assert ended[-1]["response"]["status"] == "cancelled"
    finally:
        stop_service(process)


def assert_begun_again(http: httpx.Client, response_id: str, said: list[dict[str, Any]]) -> None:
    """What was said is closed, and said anew by an item of its own, which is ended here."""
    parameters = {"stream": "true"}
    with http.stream("GET", f"/v1/responses/{response_id}", params=parameters) as answer:
        for event in read_events(answer.iter_lines()):
            if event["type"] == "response.output_text.delta" and event["output_index"] == 1:
                break
    ended = http.post(f"/v1/responses/{response_id}/cancel").raise_for_status().json()
    assert ended["status"] == "cancelled"
    first, second = ended["output"]
    assert (first["status"], second["status"]) == ("incomplete", "incomplete")
    assert first["content"][0]["text"] == second["content"][0]["text"] == said[-1]["delta"]
    events = read_on(http, response_id, None)
    assert events[: len(said)] == said
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_the_sdk_leaves_a_background_response_and_comes_back(service: Service) -> None:
    with service.client() as client:
        stream = client.responses.create(
            model="extractive",
            input="The bell rings at noon. When does the bell ring?",
            stream=True,
            background=True,
        )
        first = next(iter(stream))
        assert first.type == "response.created"
        assert first.response.background
        stream.close()
        rest = list(
            client.responses.retrieve(
                first.response.id, stream=True, starting_after=first.sequence_number
            )
        )
        numbers = [event.sequence_number for event in rest]
        assert numbers == list(range(1, len(rest) + 1))
        last = rest[-1]
        assert last.type == "response.completed"
        assert client.responses.retrieve(first.response.id).output_text == last.response.output_text
        assert client.responses.cancel(first.response.id).status == "completed"
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="extractive", input="Hi", background=True, store=False)
        assert refused.value.param == "background"
        with pytest.raises(openai.NotFoundError):
            client.responses.cancel("resp_" + 32 * "0")
