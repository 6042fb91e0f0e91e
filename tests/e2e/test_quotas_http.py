"""Quotas and usage from outside: exact over two processes, told in the headers, and set by admins alone."""

import asyncio
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.database_server import withdraw_public_rights
from tests.e2e.api import connect, read_events, refusal
from tests.e2e.conftest import Service, make_key, start_service, stop_service
from tests.owner import past_policies
from tests.servers.model_server import KEY, ModelServer
from tests.stepping import PATIENCE
from undercroft.kit.postgres.server import DatabaseUrls

AT_ONCE: Final = 50
ROOM: Final = 17
DAY: Final = "/v1/quotas/tenant/day"
QUESTION: Final = "Where is the harbour?"
MESSAGES: Final = [{"role": "user", "content": QUESTION}]
BODIES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("/v1/responses", {"model": "echo", "input": QUESTION}),
    ("/v1/responses", {"model": "echo", "input": QUESTION, "stream": True}),
    ("/v1/responses", {"model": "echo", "input": QUESTION, "store": False}),
    ("/v1/responses", {"model": "echo", "input": QUESTION, "background": True}),
    ("/v1/chat/completions", {"model": "echo", "messages": MESSAGES}),
    ("/v1/chat/completions", {"model": "echo", "messages": MESSAGES, "stream": True, "n": 2}),
    ("/v1/embeddings", {"input": QUESTION}),
)
"""Every way to ask that counts."""
PROMPT: Final = 16 + 7
"""What is reserved for the question: a token for three bytes, and what a message takes."""
LONG: Final = "The lamp is lit at dusk. " * 200
LONG_TOKENS: Final = 1667
FUNCTION: Final[dict[str, Any]] = {
    "name": "look",
    "description": LONG,
    "parameters": {"type": "object"},
}
CHARGED: Final = range(LONG_TOKENS, LONG_TOKENS + 1000)
"""What an answer with a long prompt counts that broke off; with what is reserved for its length it were more."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes on one database, with an admin's client of each."""

    clients: tuple[httpx.Client, httpx.Client]
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
    try:
        key = make_key(data_dir, "quotas", "ann@example.org", "admin", settings)
        with connect(first_url, key) as one, connect(second_url, key) as two:

            def kill() -> None:
                first.kill()
                first.wait()

            yield Pair((one, two), kill)
    finally:
        if first.poll() is None:
            stop_service(first)
        stop_service(second)


async def pin_windows(urls: DatabaseUrls) -> None:
    """Have no window be over before the test is."""
    async with past_policies(urls, "quota_windows") as owner:
        await owner.execute("UPDATE quota_windows SET started_at = '2100-01-01'")


def set_quota(client: httpx.Client, path: str = DAY, **most: int) -> None:
    answer = client.put(path, json=most)
    assert answer.status_code == 200, answer.text


def quota_of(client: httpx.Client) -> tuple[int, int]:
    """What is used of the only quota."""
    (quota,) = client.get("/v1/quotas").json()["data"]
    return quota["used_requests"], quota["used_tokens"]


def used_by(client: httpx.Client) -> tuple[int, int]:
    """Requests and tokens, of all days and models."""
    rows = client.get("/v1/usage/daily", params={"of": "tenant", "limit": "100"}).json()["data"]
    tokens = sum(row["input_tokens"] + row["output_tokens"] for row in rows)
    return sum(row["requests"] for row in rows), tokens


def finish(client: httpx.Client, answer: httpx.Response) -> None:
    """Wait until what goes on in the background has ended."""
    if "text/event-stream" in answer.headers["content-type"]:
        assert answer.text.rstrip().endswith("data: [DONE]")
    elif answer.json().get("background"):
        client.get(f"/v1/responses/{answer.json()['id']}", params={"stream": "true"}).read()


@pytest.mark.slow
def test_two_processes_spend_a_quota_exactly_and_a_killed_one_leaves_the_counts_exact(
    upstream: ModelServer, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    with running_pair(database_urls, upstream, tmp_path) as pair:
        one, two = pair.clients
        set_quota(one, requests=10**6, tokens=10**9)
        assert one.post("/v1/embeddings", json={"input": QUESTION}).status_code == 200
        asyncio.run(pin_windows(database_urls))
        before = quota_of(one)
        set_quota(one, requests=before[0] + ROOM, tokens=10**9)
        ways, clients = cycle(BODIES), cycle(pair.clients)
        asked = [(next(clients), *next(ways)) for _ in range(AT_ONCE)]

        def send(request: tuple[httpx.Client, str, dict[str, Any]]) -> httpx.Response:
            client, path, body = request
            return client.post(path, json=body)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(send, asked))
        good = [answer for answer in answers if answer.status_code == 200]
        spent = [answer for answer in answers if answer.status_code != 200]
        assert {refusal(answer) for answer in spent} == {(429, "quota_spent")}
        assert len(good) == ROOM
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in spent)
        for answer in good:
            finish(two, answer)
        # Nothing is reserved any more: what is counted is what was used, and both say the same.
        requests, tokens = quota_of(two)
        assert requests == before[0] + ROOM
        assert used_by(one) == used_by(two) == (requests, tokens)
        assert tokens > before[1]
        assert_a_killed_process_leaves_counts_exact(pair, upstream)


def assert_a_killed_process_leaves_counts_exact(pair: Pair, upstream: ModelServer) -> None:
    one, two = pair.clients
    asyncio.run(upstream.reset())
    set_quota(one, requests=10**6, tokens=10**9)
    requests, tokens = quota_of(two)
    body = {"model": "held", "input": QUESTION, "stream": True, "background": True}
    response_id = ""
    with one.stream("POST", "/v1/responses", json=body) as answer:
        for event in read_events(answer.iter_lines()):
            if event["type"] == "response.created":
                response_id = event["response"]["id"]
            if event["type"] == "response.output_text.delta":
                break
        # Counted, with all that is reserved for it.
        assert quota_of(two)[0] == requests + 1
        assert quota_of(two)[1] > tokens + 4000
        pair.kill()
    ended = two.get(f"/v1/responses/{response_id}", params={"stream": "true"})
    assert [event["type"] for event in read_events(ended.iter_lines())][-1] == "response.failed"
    # What was asked, as it was reserved, and what was said.
    assert quota_of(two) == (requests + 1, tokens + PROMPT + 2)
    assert used_by(two) == quota_of(two)
    asyncio.run(upstream.release())


async def test_what_is_counted_is_told(
    upstream_service: Service, model_server: ModelServer
) -> None:
    admin_key = upstream_service.make_key("told", "ann@example.org", "admin")
    member_key = upstream_service.make_key("told", "ben@example.org")
    with (
        connect(upstream_service.url, admin_key) as admin,
        connect(upstream_service.url, member_key) as member,
    ):
        ask = {"model": "echo", "input": QUESTION}
        assert "RateLimit" not in member.post("/v1/responses", json=ask).headers
        set_quota(admin, requests=5, tokens=100_000)
        set_quota(admin, "/v1/quotas/each_user/day", requests=3)
        left: list[str] = []
        for path, body in BODIES[:3]:
            answer = member.post(path, json=body)
            assert answer.status_code == 200, answer.text
            policy, limit = answer.headers["RateLimit-Policy"], answer.headers["RateLimit"]
            assert '"tenant-requests-day";q=5;w=86400' in policy
            assert '"tenant-tokens-day";q=100000;qu="tokens";w=86400' in policy
            assert '"each-user-requests-day";q=3;w=86400' in policy
            left += [part for part in limit.split(", ") if part.startswith('"each-user')]
        assert [part.split(";")[1] for part in left] == ["r=2", "r=1", "r=0"]
        refused = member.post("/v1/chat/completions", json=BODIES[4][1])
        assert refusal(refused) == (429, "quota_spent")
        assert '"each-user-requests-day";r=0;' in refused.headers["RateLimit"]
        assert refused.json()["error"]["message"].startswith("Your quota of requests is spent")
        # The admin is another user; the tenant's is theirs as well.
        assert admin.post("/v1/responses", json=ask).status_code == 200
        large = {**ask, "max_output_tokens": 200_000}
        assert refusal(admin.post("/v1/responses", json=large)) == (400, "larger_than_quota")
        seen = (await model_server.seen()).requests
        assert seen == 5
        mine = member.get("/v1/usage/daily").json()["data"]
        assert {row["model"] for row in mine} == {"echo"}
        assert sum(row["requests"] for row in mine) == 4
        assert sum(row["cached_tokens"] for row in mine) == 0


async def test_an_answer_under_a_quota_of_tokens_is_as_long_as_was_reserved(
    upstream_service: Service, model_server: ModelServer
) -> None:
    with connect(
        upstream_service.url, upstream_service.make_key("bound", "ann@example.org", "admin")
    ) as client:
        set_quota(client, tokens=10**6)
        for path, body in BODIES[:6]:
            assert client.post(path, json=body).status_code == 200
            sent = (await model_server.seen()).last_body
            assert sent.get("max_completion_tokens") or sent.get("max_tokens") == 4096


async def test_a_repeated_request_counts_once(
    upstream_service: Service, model_server: ModelServer
) -> None:
    del model_server
    with connect(
        upstream_service.url, upstream_service.make_key("once", "ann@example.org", "admin")
    ) as client:
        set_quota(client, requests=100)
        for _ in range(3):
            answer = client.post(
                "/v1/responses",
                json={"model": "echo", "input": QUESTION},
                headers={"Idempotency-Key": "one of one"},
            )
            assert answer.status_code == 200
        assert quota_of(client)[0] == 1
        assert used_by(client)[0] == 1


async def test_what_breaks_off_counts_what_was_said(
    upstream_service: Service, model_server: ModelServer
) -> None:
    del model_server
    with connect(
        upstream_service.url, upstream_service.make_key("broken", "ann@example.org", "admin")
    ) as client:
        set_quota(client, requests=100, tokens=10**6)
        half = {"model": "cut-short", "messages": MESSAGES}
        assert client.post("/v1/chat/completions", json=half).status_code == 502
        client.post("/v1/responses", json={"model": "cut-short", "input": QUESTION})
        # Three tokens were said each time, as far as anybody knows.
        assert quota_of(client) == (2, 2 * (PROMPT + 3))
        assert used_by(client) == quota_of(client)
        (row,) = client.get("/v1/usage/daily").json()["data"]
        assert row["estimated_requests"] == 2


async def test_whoever_breaks_off_is_charged_for_what_the_model_was_told(
    upstream_service: Service, model_server: ModelServer
) -> None:
    del model_server
    with connect(
        upstream_service.url, upstream_service.make_key("leaves", "ann@example.org", "admin")
    ) as client:
        set_quota(client, tokens=10**6)
        turn = {"model": "echo", "input": LONG, "max_output_tokens": 1}
        earlier = client.post("/v1/responses", json=turn).json()["id"]
        tools = [{"type": "function", **FUNCTION}]
        for fields in ({"instructions": LONG}, {"tools": tools}, {"previous_response_id": earlier}):
            before = quota_of(client)[1]
            cancel_midway(client, fields)
            assert quota_of(client)[1] - before in CHARGED, fields
        unkept = {"model": "call-cut", "input": QUESTION, "tools": tools, "store": False}
        chat = {"model": "call-cut", "messages": MESSAGES}
        chat_tools = {"tools": [{"type": "function", "function": FUNCTION}]}
        for path, body in (("responses", unkept), ("chat/completions", {**chat, **chat_tools})):
            before = quota_of(client)[1]
            assert client.post(f"/v1/{path}", json=body).status_code == 502
            assert quota_of(client)[1] - before in CHARGED, path
        before = quota_of(client)[1]
        left = {**chat, **chat_tools, "model": "held", "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=left) as answer:
            assert any("first" in line for line in answer.iter_lines())
        assert settled(client, before) in CHARGED
        # Refused before a word: nobody read it.
        before = quota_of(client)[1]
        refused = client.post("/v1/chat/completions", json={**chat, **chat_tools, "model": "400"})
        assert (refused.status_code, quota_of(client)[1]) == (400, before)


def cancel_midway(client: httpx.Client, fields: dict[str, Any]) -> None:
    """Cancel a response once something was said of it."""
    body = {"model": "held", "input": QUESTION, "stream": True, "background": True, **fields}
    response_id = ""
    with client.stream("POST", "/v1/responses", json=body) as answer:
        for event in read_events(answer.iter_lines()):
            if event["type"] == "response.created":
                response_id = event["response"]["id"]
            if event["type"] == "response.output_text.delta":
                break
    assert client.post(f"/v1/responses/{response_id}/cancel").json()["status"] == "cancelled"


def settled(client: httpx.Client, before: int) -> int:
    """What an answer counted whose watcher has left, once nothing is reserved for it any more."""
    until = time.monotonic() + PATIENCE
    while (counted := quota_of(client)[1] - before) >= 4096:
        assert time.monotonic() < until
    return counted


def test_quotas_are_set_and_read_by_admins_alone(upstream_service: Service) -> None:
    admin_key = upstream_service.make_key("set", "ann@example.org", "admin")
    member_key = upstream_service.make_key("set", "ben@example.org")
    with (
        connect(upstream_service.url, admin_key) as admin,
        connect(upstream_service.url, member_key) as member,
    ):
        assert member.get("/v1/quotas").status_code == 403
        assert member.put(DAY, json={"requests": 1}).status_code == 403
        assert member.get("/v1/usage/daily", params={"of": "tenant"}).status_code == 403
        users = {each["email"]: each["id"] for each in admin.get("/v1/users").json()["data"]}
        (key,) = admin.get(f"/v1/users/{users['ann@example.org']}/keys").json()["data"]
        for subject in ("tenant", "each_user", users["ben@example.org"], key["id"]):
            for period in ("minute", "day"):
                made = admin.put(f"/v1/quotas/{subject}/{period}", json={"tokens": 10**9})
                assert (made.status_code, made.json()["subject"]) == (200, subject)
        assert len(admin.get("/v1/quotas").json()["data"]) == 8
        for path in ("someone/day", "tenant/year", f"user_{'0' * 32}/day", f"key_{'0' * 32}/day"):
            assert admin.put(f"/v1/quotas/{path}", json={"requests": 1}).status_code == 404
        for body in ({}, {"requests": -1}, {"requests": 1.5}, {"most": 1}, {"tokens": 10**16}):
            assert admin.put(DAY, json=body).status_code in {400, 422}
        assert admin.delete(DAY).status_code == 204
        assert admin.delete(DAY).status_code == 404
        asked = {"of": "tenant", "user": users["ben@example.org"]}
        assert admin.get("/v1/usage/daily", params=asked).json()["data"] == []
        for odd in ({"first": "2026-02-30"}, {"user": "me"}, {"after": "a/b/c"}):
            assert admin.get("/v1/usage/daily", params=odd).status_code in {400, 404}
