"""What every model provider does, whoever runs the model. A new provider is one more entry in ``subject``."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from tests.chat.providers.conftest import MakeLocal, MakeUpstream, answer, ask
from tests.servers.model_server import ModelServer
from undercroft.chat.providers.anthropic import AnthropicProvider
from undercroft.chat.providers.local import SMOLLM2_ID, LocalLimits
from undercroft.chat.providers.openai_compatible import OpenAiCompatibleProvider
from undercroft.chat.providers.protocol import (
    FinishReason,
    GenerationRequest,
    Message,
    ModelProvider,
    Role,
    TextDelta,
)
from undercroft.kit.errors import InvalidRequestError

COLOURS = "Name five colours, separated by commas."


@dataclass(frozen=True)
class Subject:
    """A provider under test.

    Attributes:
        provider: The provider.
        model: A model that answers as asked.
        endless: A model whose answer does not end by itself soon.
        foreign: A prompt whose answer has characters that its tokens or packets split.
        idle: Returns once the provider has stopped all work.
    """

    provider: ModelProvider
    model: str
    endless: str
    foreign: GenerationRequest
    idle: Callable[[], Awaitable[object]]


@pytest.fixture(params=["openai-compatible", "anthropic", "local"])
async def subject(
    request: pytest.FixtureRequest,
    model_server: ModelServer,
    anthropic_server: ModelServer,
    make_upstream: MakeUpstream,
    make_local: MakeLocal,
) -> Subject:
    """The place to add a provider."""
    if request.param != "local":
        is_anthropic = request.param == "anthropic"
        server = anthropic_server if is_anthropic else model_server
        api = AnthropicProvider if is_anthropic else OpenAiCompatibleProvider
        return Subject(
            make_upstream(server.base_url, api=api),
            model="echo",
            endless="endless",
            foreign=ask("bytewise", "naïve 🦜 日本語"),
            idle=lambda: server.until(lambda seen: seen.cancelled == 1 and not seen.running),
        )
    # One sequence only: what was not cancelled would keep the next request from being answered.
    local = make_local(LocalLimits(running=1, wait_seconds=20))
    return Subject(
        local,
        model=SMOLLM2_ID,
        endless=SMOLLM2_ID,
        foreign=ask(SMOLLM2_ID, "Repeat exactly: 🦜 日本語 🦜 日本語", max_output_tokens=16),
        idle=lambda: answer(local, ask(SMOLLM2_ID, "Say hello.", max_output_tokens=1)),
    )


async def test_streams_text_and_then_one_end(subject: Subject) -> None:
    texts, end = await answer(subject.provider, ask(subject.model, COLOURS, max_output_tokens=8))

    assert "".join(texts)
    assert end.reason in {FinishReason.STOP, FinishReason.LENGTH}


async def test_lists_the_models_it_answers_for(subject: Subject) -> None:
    listed = {model.id: model for model in await subject.provider.list_models()}

    assert listed[subject.model].owned_by
    assert (listed[subject.model].context_tokens or 0) > 1000


async def test_counts_the_prompt_and_the_answer(subject: Subject) -> None:
    _, short = await answer(subject.provider, ask(subject.model, "Hello.", max_output_tokens=4))
    _, long = await answer(
        subject.provider, ask(subject.model, "Hello there. " * 8, max_output_tokens=4)
    )

    assert 0 < short.usage.output_tokens <= 4
    assert 0 < short.usage.input_tokens < long.usage.input_tokens
    assert not short.usage.estimated


async def test_obeys_the_limit_on_the_answer(subject: Subject) -> None:
    _, end = await answer(subject.provider, ask(subject.model, COLOURS, max_output_tokens=3))

    assert end.reason is FinishReason.LENGTH
    assert end.usage.output_tokens == 3


async def test_keeps_every_character_whole(subject: Subject) -> None:
    texts, _ = await answer(subject.provider, subject.foreign)

    joined = "".join(texts)
    assert "🦜" in joined
    assert "日本" in joined
    assert "\N{REPLACEMENT CHARACTER}" not in joined


async def test_ends_before_a_stop_string(subject: Subject) -> None:
    request = ask(subject.model, COLOURS, max_output_tokens=8, temperature=0.0)
    whole = "".join((await answer(subject.provider, request))[0])
    stop = whole[5:9]  # a piece that is not aligned with tokens

    texts, end = await answer(
        subject.provider,
        ask(
            subject.model, COLOURS, max_output_tokens=8, temperature=0.0, stop=("never said", stop)
        ),
    )

    assert "".join(texts) == whole[: whole.index(stop)]
    assert end.reason is FinishReason.STOP


async def test_answers_the_same_at_temperature_zero(subject: Subject) -> None:
    request = ask(subject.model, COLOURS, max_output_tokens=6, temperature=0.0)

    (first, end), (again, same_end) = [await answer(subject.provider, request) for _ in range(2)]

    # What a server's words come in is the network's affair.
    assert "".join(first) == "".join(again)
    assert end == same_end


async def test_streams_what_is_said_while_more_is_to_come(subject: Subject) -> None:
    request = ask(subject.endless, "Tell a long story of a king.", max_output_tokens=500)
    async with aclosing(subject.provider.generate(request)) as events:
        assert [type(await anext(events)) for _ in range(3)] == [TextDelta] * 3


async def test_closing_the_generator_cancels_the_work(subject: Subject) -> None:
    request = ask(subject.endless, "Tell a long story of a king.", max_output_tokens=500)
    async with aclosing(subject.provider.generate(request)) as events:
        assert isinstance(await anext(events), TextDelta)

    await subject.idle()


async def test_cancelling_the_consumer_cancels_the_work(subject: Subject) -> None:
    begun = asyncio.Event()

    async def consume() -> None:
        request = ask(subject.endless, "Tell a long story of a king.", max_output_tokens=500)
        async with aclosing(subject.provider.generate(request)) as events:
            async for _ in events:
                begun.set()

    consumer = asyncio.create_task(consume())
    await begun.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer

    await subject.idle()


async def test_answers_many_at_once(subject: Subject) -> None:
    requests = [
        ask(subject.model, f"Count to {number}.", max_output_tokens=4) for number in range(6)
    ]

    answers = await asyncio.gather(*(answer(subject.provider, request) for request in requests))

    assert all(texts and end.usage.output_tokens <= 4 for texts, end in answers)


async def test_a_conversation_has_several_turns(subject: Subject) -> None:
    messages = (
        Message(Role.SYSTEM, "You are terse."),
        Message(Role.USER, "Hello."),
        Message(Role.ASSISTANT, "Hello. What do you want to know?"),
        Message(Role.USER, "Name a colour."),
    )

    texts, _ = await answer(
        subject.provider, GenerationRequest(subject.model, messages, max_output_tokens=8)
    )

    assert texts


async def test_refuses_a_prompt_without_messages(subject: Subject) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await answer(subject.provider, GenerationRequest(subject.model, ()))

    assert refused.value.param == "input"
