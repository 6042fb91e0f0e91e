"""Each budget of a model server holds by itself: the others would leave it an hour."""

import contextlib
import socket
from collections.abc import Generator
from dataclasses import replace

import pytest

from tests.chat.providers.conftest import MakeUpstream, ask, collect
from tests.servers.model_server import ModelServer
from undercroft.chat.providers.budgets import Budgets
from undercroft.chat.providers.protocol import GenerationEvent
from undercroft.chat.providers.upstream_errors import UpstreamError

HOUR = 3600.0
AMPLE = Budgets(connect=HOUR, first_token=HOUR, between_tokens=HOUR, whole=HOUR, attempts=1)
BRIEF = 0.3


@pytest.fixture
def full_backlog() -> Generator[str]:
    """A base URL at which connections are not taken: nobody accepts those that wait, and there is room for no more."""
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


async def test_a_connection_that_is_not_made_in_its_time_is_none(
    full_backlog: str, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(full_backlog, budgets=replace(AMPLE, connect=BRIEF))
    with pytest.raises(UpstreamError) as failed:
        await collect(provider.generate(ask("echo", "Hello.")), [])
    assert failed.value.code == "upstream_unreachable"


@pytest.mark.parametrize(
    ("budget", "model", "said"),
    [("first_token", "never", 0), ("between_tokens", "stall", 1), ("whole", "stall", 1)],
)
async def test_each_of_the_others_ends_the_answer_alone(
    budget: str, model: str, said: int, model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    # The whole begins with the request: on a slow machine, too, its first word comes within that.
    seconds = 3.0 if budget == "whole" else BRIEF
    provider = make_upstream(model_server.base_url, budgets=replace(AMPLE, **{budget: seconds}))
    events: list[GenerationEvent] = []
    with pytest.raises(UpstreamError) as late:
        await collect(provider.generate(ask(model, "Hello.")), events)
    assert (late.value.code, len(events)) == ("upstream_timed_out", said)
