from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.chat.providers.conftest import MakeUpstream, answer, ask, collect
from tests.servers.model_server import ModelServer, running_model_server
from undercroft.chat.providers.budgets import Budgets
from undercroft.chat.providers.protocol import TextDelta
from undercroft.chat.providers.registry import ModelNotFoundError, ModelRegistry
from undercroft.kit.errors import UnavailableError, UndercroftError

ONCE = Budgets(attempts=1, listing=60.0)


async def test_a_dead_server_is_left_out_and_reported(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    with running_model_server() as other:
        dead = make_upstream(other.base_url, name="dead", budgets=ONCE)
    registry = ModelRegistry(
        [dead, make_upstream(model_server.base_url, name="live")], default_model="echo"
    )

    listing = await registry.list_models()

    assert "echo" in {model.id for model in listing.models}
    assert len(listing.models) == len({model.id for model in listing.models})
    assert list(listing.failures) == ["dead"]


async def test_the_next_server_answers_when_the_first_has_died(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    with running_model_server() as dying:
        first = make_upstream(dying.base_url, name="first", budgets=ONCE)
        registry = ModelRegistry(
            [first, make_upstream(model_server.base_url, name="second")], default_model="echo"
        )
        assert [provider.name for provider in await registry.resolve("echo")] == ["first", "second"]

    async with aclosing(registry.generate(ask("echo", "Hello."))) as events:
        assert await anext(events) == TextDelta("Hello.")


async def test_the_first_server_answers_while_it_can(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    with running_model_server() as first:
        registry = ModelRegistry(
            [make_upstream(first.base_url, name="first"), make_upstream(model_server.base_url)],
            default_model="echo",
        )
        async with aclosing(registry.generate(ask("echo", "Hello."))) as events:
            assert [event async for event in events]
        assert (await first.seen()).requests == 1
    assert (await model_server.seen()).requests == 0


@pytest.mark.parametrize(("model", "tries"), [("cut", 1), ("400", 1), ("500", 2), ("429", 2)])
async def test_what_another_server_would_not_do_better_is_not_tried_there(
    model: str, tries: int, model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    """A half-sent answer and a bad request stay where they are; a failure and a rate limit move on."""
    registry = ModelRegistry(
        [make_upstream(model_server.base_url, name=name, budgets=ONCE) for name in ("a", "b")],
        default_model="echo",
    )

    with pytest.raises(UndercroftError):
        await collect(registry.generate(ask(model, "Hello.")), [])

    assert (await model_server.seen()).requests == tries


async def test_an_unknown_model_is_not_found(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    registry = ModelRegistry([make_upstream(model_server.base_url)], default_model="echo")

    with pytest.raises(ModelNotFoundError) as missing:
        await registry.resolve("gpt-17")

    assert (missing.value.status, missing.value.param, missing.value.code) == (
        404,
        "model",
        "model_not_found",
    )


async def test_an_unknown_model_may_be_on_a_server_that_is_down(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    with running_model_server() as other:
        dead = make_upstream(other.base_url, name="dead", budgets=ONCE)
    registry = ModelRegistry([make_upstream(model_server.base_url), dead], default_model="echo")

    with pytest.raises(UnavailableError, match="'dead'"):
        await registry.resolve("gpt-17")


async def test_choosing_does_not_ask_for_lists_each_time(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(model_server.base_url, budgets=Budgets(listing_fresh=0.0))
    registry = ModelRegistry([provider], default_model="echo")

    for _ in range(3):
        await answer((await registry.resolve("echo"))[0], ask("echo", "Hello."))

    assert (await model_server.seen()).listings == 1


async def test_what_may_not_leave_is_sent_to_no_external_server_even_when_the_local_one_fails(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    with running_model_server() as dying:
        local = make_upstream(dying.base_url, name="local", location="local", budgets=ONCE)
        outside = make_upstream(model_server.base_url, name="outside", location="external")
        registry = ModelRegistry([local, outside], default_model="echo")
        assert await registry.find_location("echo") == "local"
    confined = replace(ask("echo", "Hello."), is_confined=True)
    with pytest.raises(UndercroftError):
        await collect(registry.generate(confined), [])
    assert (await model_server.seen()).requests == 0
    only = ModelRegistry([outside], default_model="echo")
    assert await only.find_location("echo") == "external"
    with pytest.raises(UnavailableError):
        await collect(only.generate(confined), [])
    assert (await model_server.seen()).requests == 0
