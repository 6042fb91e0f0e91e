"""Responses of one conversation, sent over HTTP to two processes, one of which is killed."""

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.database_server import withdraw_public_rights
from tests.e2e.conftest import Service, make_key, start_service, stop_service
from tests.servers.model_server import KEY, ModelServer
from undercroft.kit.postgres.server import DatabaseUrls

SENDERS = 6


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes on one database."""

    clients: tuple[OpenAI, OpenAI]
    kill: Callable[[], None]


@contextmanager
def running_pair(urls: DatabaseUrls, upstream: ModelServer, folder: Path) -> Generator[Pair]:
    """Two processes, of which the first can be killed."""
    asyncio.run(withdraw_public_rights(urls))
    settings = {
        "UNDERCROFT_DATABASE_URL": urls.service,
        "UNDERCROFT_UPSTREAM_URL": upstream.base_url,
        "UNDERCROFT_UPSTREAM_KEY": KEY,
    }
    data_dir = folder / "data"
    first, first_url = start_service(data_dir, settings)
    second, second_url = start_service(data_dir, settings)
    killed = threading.Event()

    def kill() -> None:
        first.kill()
        first.wait()
        killed.set()

    try:
        key = make_key(data_dir, "turns", "ann@example.org", settings=settings)
        with (
            OpenAI(base_url=f"{first_url}/v1", api_key=key, max_retries=0) as here,
            OpenAI(base_url=f"{second_url}/v1", api_key=key, max_retries=0) as there,
        ):
            yield Pair((here, there), kill)
    finally:
        if not killed.is_set():
            stop_service(first)
        stop_service(second)


def texts_of(client: OpenAI, conversation_id: str) -> list[tuple[str, str]]:
    return [
        (item.role, "".join(part.text for part in item.content))  # type: ignore[union-attr]
        for item in client.conversations.items.list(conversation_id, order="asc", limit=100)
    ]


@pytest.mark.slow
def test_two_processes_take_turns_and_the_death_of_one_leaves_nothing_stuck(
    upstream: ModelServer, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    with running_pair(database_urls, upstream, tmp_path) as pair:
        here, there = pair.clients
        begun = here.conversations.create().id
        barrier = threading.Barrier(SENDERS)

        def send(number: int) -> str:
            barrier.wait(60)
            client = pair.clients[number % 2]
            return client.responses.create(
                model="echo", input=f"word {number}", conversation=begun
            ).output_text

        with ThreadPoolExecutor(SENDERS) as pool:
            answers = list(pool.map(send, range(SENDERS)))
        assert answers == [f"word {number}" for number in range(SENDERS)]
        said = texts_of(there, begun)
        # Whoever came first: each question has its own answer right behind it.
        assert [role for role, _ in said] == ["user", "assistant"] * SENDERS
        assert [text for _, text in said[::2]] == [text for _, text in said[1::2]]
        assert sorted(text for _, text in said[::2]) == answers

        stalled = here.responses.create(
            model="stall", input="Stay.", conversation=begun, stream=True, background=True
        )
        assert next(event for event in stalled if event.type == "response.output_text.delta")
        waiting = there.responses.create(
            model="echo", input="And then?", conversation=begun, stream=True
        )
        events = iter(waiting)
        assert [next(events).type for _ in range(2)] == ["response.created", "response.queued"]
        pair.kill()
        rest = list(events)
        assert rest[0].type == "response.in_progress"
        assert rest[-1].type == "response.completed"
        assert [event.sequence_number for event in rest] == list(range(2, 2 + len(rest)))
        assert texts_of(there, begun)[2 * SENDERS :] == [
            ("user", "Stay."),
            ("assistant", "one"),
            ("user", "And then?"),
            ("assistant", "And then?"),
        ]


def test_the_sdk_says_what_becomes_of_a_send_meanwhile(upstream_service: Service) -> None:
    with upstream_service.client() as client:
        begun = client.conversations.create(extra_body={"if_busy": "reject"})
        assert begun.model_extra == {"if_busy": "reject"}

        def send(text: str, model: str = "echo", **extra: Any) -> Any:  # noqa: ANN401 - the SDK's
            return client.responses.create(
                model=model, input=text, conversation=begun.id, extra_body=extra, background=True
            )

        first = send("Stay.", "stall")
        with pytest.raises(openai.ConflictError) as refused:
            send("Now?")
        assert (refused.value.code, refused.value.param) == ("conversation_busy", "if_busy")
        assert "'enqueue'" in refused.value.message
        waiting = send("Now?", if_busy="enqueue")
        assert waiting.status == "queued"
        *_, last = send_and_watch(client, begun.id, "Stop!", if_busy="interrupt")
        assert last.type == "response.completed"
        assert client.responses.retrieve(first.id).status == "cancelled"
        assert client.responses.retrieve(waiting.id).status == "cancelled"
        said = texts_of(client, begun.id)
        assert said[0] == ("user", "Stay.")
        # How much it had said by then is its own affair.
        assert said[-2:] == [("user", "Stop!"), ("assistant", "Stop!")]
        changed = client.conversations.update(
            begun.id, metadata={}, extra_body={"if_busy": "enqueue"}
        )
        assert changed.model_extra == {"if_busy": "enqueue"}
        with pytest.raises(openai.BadRequestError) as malformed:
            client.responses.create(model="echo", input="Hi", extra_body={"if_busy": "reject"})
        assert malformed.value.param == "if_busy"


def send_and_watch(client: OpenAI, conversation_id: str, text: str, **extra: Any) -> list[Any]:  # noqa: ANN401 - the SDK's
    return list(
        client.responses.create(
            model="echo", input=text, conversation=conversation_id, extra_body=extra, stream=True
        )
    )
