"""Servers that fail, seen from the registry: who is asked next, who is not asked for a while, what time is left."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.chat.providers.conftest import MakeUpstream, ask, collect
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.clocks import SetClock
from tests.servers.model_server import ModelServer, running_model_server
from undercroft.chat.providers.budgets import Budgets
from undercroft.chat.providers.protocol import (
    Finished,
    GenerationEvent,
    GenerationRequest,
    TextDelta,
)
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.kit.circuit import FAILURES, REST_SECONDS
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError

ONCE = Budgets(attempts=1, listing=60.0)


async def text(registry: ModelRegistry, request: GenerationRequest) -> str:
    async with aclosing(registry.generate(request)) as events:
        return "".join([event.text async for event in events if isinstance(event, TextDelta)])


async def test_a_model_that_keeps_failing_is_not_asked_for_a_while(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    clock = SetClock()
    registry = ModelRegistry(
        [make_upstream(model_server.base_url, budgets=ONCE)], default_model="echo", clock=clock
    )
    for _ in range(FAILURES):
        with pytest.raises(UndercroftError, match="status 500"):
            await text(registry, ask("500", "Hello."))
    assert (await model_server.seen()).requests == FAILURES

    with pytest.raises(UnavailableError, match="several times in a row") as resting:
        await text(registry, ask("500", "Hello."))
    assert resting.value.code == "model_provider_resting"
    assert resting.value.retry_after == REST_SECONDS
    assert (await model_server.seen()).requests == FAILURES

    clock.seconds += REST_SECONDS
    with pytest.raises(UndercroftError, match="status 500"):
        await text(registry, ask("500", "Hello."))
    with pytest.raises(UnavailableError, match="several times in a row"):
        await text(registry, ask("500", "Hello."))
    assert (await model_server.seen()).requests == FAILURES + 1


async def test_a_model_that_keeps_failing_says_nothing_of_the_others_of_its_server(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    registry = ModelRegistry(
        [make_upstream(model_server.base_url, budgets=ONCE)], default_model="echo", clock=SetClock()
    )
    for _ in range(FAILURES + 1):
        with pytest.raises(UndercroftError):
            await text(registry, ask("500", "Hello."))

    assert await text(registry, ask("echo", "Hello.")) == "Hello."


async def test_a_server_that_breaks_off_each_time_is_not_asked_for_a_while(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    registry = ModelRegistry(
        [make_upstream(model_server.base_url)], default_model="echo", clock=SetClock()
    )
    for _ in range(FAILURES):
        with pytest.raises(UndercroftError, match="in the middle"):
            await text(registry, ask("cut", "Hello."))

    with pytest.raises(UnavailableError):
        await text(registry, ask("cut", "Hello."))

    assert (await model_server.seen()).requests == FAILURES


@pytest.mark.parametrize("model", ["400", "403", "404", "429", "huge-answer"])
async def test_what_may_be_the_requests_fault_keeps_nobody_else_from_being_answered(
    model: str, model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    budgets = replace(ONCE, response_bytes=1024 * 1024)
    registry = ModelRegistry(
        [make_upstream(model_server.base_url, budgets=budgets)], default_model="echo"
    )
    for _ in range(FAILURES + 1):
        with pytest.raises(UndercroftError):
            await text(registry, ask(model, "Hello."))

    assert await text(registry, ask("echo", "Hello.")) == "Hello."


async def test_a_server_that_rests_is_passed_over(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    with running_model_server() as failing:
        first = make_upstream(failing.base_url, name="first", budgets=ONCE)
        registry = ModelRegistry(
            [first, make_upstream(model_server.base_url, name="second", budgets=ONCE)],
            default_model="echo",
            clock=SetClock(),
        )
        for _ in range(FAILURES):
            with pytest.raises(UndercroftError):
                await text(registry, ask("cut", "Hello."))
        assert (await model_server.seen()).requests == 0

        with pytest.raises(UndercroftError, match="in the middle"):
            await text(registry, ask("cut", "Hello."))

        assert (await failing.seen()).requests == FAILURES
    assert (await model_server.seen()).requests == 1


async def test_what_may_not_leave_waits_for_the_local_server_that_rests(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    with running_model_server() as failing:
        local = make_upstream(failing.base_url, name="local", location="local", budgets=ONCE)
        registry = ModelRegistry(
            [local, make_upstream(model_server.base_url, name="outside")],
            default_model="echo",
            clock=SetClock(),
        )
        for _ in range(FAILURES):
            with pytest.raises(UndercroftError):
                await text(registry, ask("cut", "Hello."))
        with pytest.raises(UnavailableError, match="'local'"):
            await text(registry, ask("cut", "Hello.", is_confined=True))
    assert (await model_server.seen()).requests == 0


async def test_whoever_leaves_in_the_middle_says_nothing_about_the_server(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    registry = ModelRegistry([make_upstream(model_server.base_url)], default_model="echo")
    for _ in range(FAILURES + 1):
        async with aclosing(registry.generate(ask("endless", "Hello."))) as events:
            await anext(events)

    assert await text(registry, ask("echo", "Hello.")) == "Hello."


class SlowModel(ScriptedModel):
    """Takes a while by the clock, and fails."""

    def __init__(self, name: str, clock: SetClock, takes: float) -> None:
        super().__init__(failure=UndercroftError(name, kind=ErrorKind.UPSTREAM_FAILED))
        self.name = name
        self._clock = clock
        self._takes = takes

    @property
    def given(self) -> list[float | None]:
        return [request.seconds for request in self.requests]

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self._clock.seconds += self._takes
        return super().generate(request)


async def test_each_is_given_the_time_that_those_before_have_left() -> None:
    clock = SetClock()
    servers = [SlowModel(name, clock, 20.0) for name in ("a", "b", "c")]
    registry = ModelRegistry(servers, default_model=SCRIPTED, clock=clock, seconds=100)
    with pytest.raises(UndercroftError, match="c"):
        await text(registry, ask(SCRIPTED, "Hello."))
    assert [server.given for server in servers] == [[100.0], [80.0], [60.0]]

    with pytest.raises(UndercroftError, match="b"):
        await text(registry, ask(SCRIPTED, "Hello.", seconds=35.0))
    assert [server.given[1:] for server in servers] == [[35.0], [15.0], []]


async def test_a_server_keeps_within_the_time_it_is_given(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    """The model says one word and then nothing, for which the server's own budgets would leave an hour."""
    ample = Budgets(first_token=3600.0, between_tokens=3600.0, whole=3600.0)
    registry = ModelRegistry(
        [make_upstream(model_server.base_url, budgets=ample)], default_model="echo"
    )
    events: list[GenerationEvent] = []
    with pytest.raises(UndercroftError) as late:
        await collect(registry.generate(ask("stall", "Hello.", seconds=2.0)), events)
    assert late.value.code == "upstream_timed_out"


async def test_a_thousand_calls_open_as_many_connections_as_run_at_once(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    registry = ModelRegistry([make_upstream(model_server.base_url)], default_model="echo")
    for _ in range(1000):
        events: list[GenerationEvent] = []
        await collect(registry.generate(ask("echo", "Hello.")), events)
        assert isinstance(events[-1], Finished)

    seen = await model_server.seen()
    assert (seen.requests, seen.connections) == (1000, 1)
