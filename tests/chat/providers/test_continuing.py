"""Answers that break off, and go on without a seam: from a given beginning, with whoever can."""

from dataclasses import replace

import pytest

from tests.chat.providers.conftest import MakeLocal, MakeUpstream, answer, ask, collect
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.clocks import SetClock
from tests.servers.model_server import ModelServer
from undercroft.chat.providers.local import SMOLLM2_ID
from undercroft.chat.providers.options import JsonOutput, Options
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    ModelProvider,
    TextDelta,
)
from undercroft.chat.providers.registry import ModelRegistry, UnableError
from undercroft.chat.providers.upstream_errors import UpstreamError

BROKEN = UpstreamError("It broke off.", code="upstream_broken")


def registry(*models: ModelProvider) -> ModelRegistry:
    return ModelRegistry(models, default_model=SCRIPTED, clock=SetClock())


async def test_the_local_model_goes_on_from_every_place_as_if_it_had_never_stopped(
    make_local: MakeLocal,
) -> None:
    local = make_local()
    request = ask(SMOLLM2_ID, "Name five colours, separated by commas.", max_output_tokens=24)
    texts, end = await answer(local, request)
    for number in range(len(texts) + 1):
        begun = "".join(texts[:number])
        more, again = await answer(local, replace(request, prefix=begun))
        assert begun + "".join(more) == "".join(texts)
        assert again == end, "what was there counts as generated"


async def test_the_limit_holds_over_the_seam(make_local: MakeLocal) -> None:
    local = make_local()
    request = ask(SMOLLM2_ID, "Name five colours, separated by commas.", max_output_tokens=4)
    texts, end = await answer(local, request)
    assert end.reason is FinishReason.LENGTH
    more, again = await answer(local, replace(request, prefix="".join(texts)))
    assert (more, again) == ([], end)


async def test_a_server_that_was_declared_able_goes_on_with_its_own_text(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    able = make_upstream(model_server.base_url, continues=True)
    request = ask("goes-on", "one two three four", max_output_tokens=3)
    events: list[GenerationEvent] = []
    await collect(registry(able).generate(request), events)
    *texts, end = events
    assert texts == [TextDelta("one "), TextDelta("two three ")]
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.LENGTH
    assert end.usage.estimated
    seen = await model_server.seen()
    assert seen.requests == 2
    assert seen.last_body["messages"][-1] == {"role": "assistant", "content": "one "}
    assert seen.last_body["max_tokens"] == 2


async def test_one_that_was_not_is_given_no_beginning(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    models = registry(make_upstream(model_server.base_url))
    with pytest.raises(UpstreamError):
        await collect(models.generate(ask("goes-on", "one two three")), [])
    assert (await model_server.seen()).requests == 1
    with pytest.raises(UnableError):
        await collect(models.generate(ask("goes-on", "one two", prefix="one ")), [])
    assert (await model_server.seen()).requests == 1


async def test_whoever_can_goes_on_where_another_broke_off() -> None:
    first = ScriptedModel("One ", "two ", failure=BROKEN)
    unable = ScriptedModel("Other.", name="unable")
    able = ScriptedModel("One ", "two ", "three.", name="able", continues=True)
    events: list[GenerationEvent] = []
    await collect(registry(first, unable, able).generate(ask(SCRIPTED, "Count.")), events)
    assert [each.text for each in events if isinstance(each, TextDelta)] == [
        "One ",
        "two ",
        "three.",
    ]
    assert (len(first.requests), unable.requests) == (1, [])
    assert [each.prefix for each in able.requests] == ["One two "]


async def test_the_one_that_failed_is_asked_once_more_and_no_oftener() -> None:
    model = ScriptedModel("One ", failure=BROKEN, continues=True)
    events: list[GenerationEvent] = []
    with pytest.raises(UpstreamError):
        await collect(registry(model).generate(ask(SCRIPTED, "Count.")), events)
    assert [each.prefix for each in model.requests] == ["", "One "]
    assert events == [TextDelta("One ")]


@pytest.mark.parametrize(
    "asked",
    [
        ask("goes-on", "one two three", options=Options(output=JsonOutput())),
        ask("call-cut", "Look."),
    ],
    ids=["json", "call"],
)
async def test_json_and_calls_are_not_continued(
    model_server: ModelServer, make_upstream: MakeUpstream, asked: GenerationRequest
) -> None:
    models = registry(make_upstream(model_server.base_url, continues=True))
    with pytest.raises(UpstreamError):
        await collect(models.generate(asked), [])
    assert (await model_server.seen()).requests == 1
