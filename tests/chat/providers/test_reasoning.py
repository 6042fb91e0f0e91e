"""What models think: read from their servers, and given back to who made it and to nobody else."""

from dataclasses import replace

import pytest

from tests.chat.providers.conftest import MakeUpstream, ask, collect
from tests.servers.model_server import ModelServer
from undercroft.chat.providers.anthropic import AnthropicProvider
from undercroft.chat.providers.options import Options
from undercroft.chat.providers.protocol import (
    Finished,
    GenerationEvent,
    GenerationRequest,
    Message,
    ModelProvider,
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
    Role,
    TextDelta,
)
from undercroft.chat.providers.registry import ModelRegistry, UnableError
from undercroft.kit.errors import InvalidRequestError

THOUGHT = {"reasoning_content": "First I think."}
SIGNED = {"type": "thinking", "thinking": "First I think.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "aGlkZGVu"}


async def heard(provider: ModelProvider, request: GenerationRequest) -> list[GenerationEvent]:
    events: list[GenerationEvent] = []
    await collect(provider.generate(request), events)
    return events


def after(request: GenerationRequest, *thoughts: Reasoning) -> GenerationRequest:
    """The same question after an answer with thoughts."""
    earlier = (Message(Role.USER, "Hi"), Message(Role.ASSISTANT, "Ho", reasoning=thoughts))
    return replace(request, messages=(*earlier, *request.messages))


async def test_thoughts_come_before_the_words_and_are_counted(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    events = await heard(make_upstream(model_server.base_url), ask("thinking", "Hello."))

    assert events[:4] == [
        ReasoningDelta("First I "),
        ReasoningDelta("think."),
        ReasoningEnded(Reasoning("fake", "thinking", THOUGHT)),
        TextDelta("Hello."),
    ]
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.reasoning_tokens == 3


async def test_thoughts_of_anthropics_api_come_with_what_proves_them(
    anthropic_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(anthropic_server.base_url, api=AnthropicProvider)
    events = await heard(provider, ask("thinking", "Hello."))

    assert events[:5] == [
        ReasoningDelta("First I ", is_summary=True),
        ReasoningDelta("think.", is_summary=True),
        ReasoningEnded(Reasoning("fake", "thinking", SIGNED)),
        ReasoningEnded(Reasoning("fake", "thinking", HIDDEN)),
        TextDelta("Hello."),
    ]


async def test_thoughts_are_given_back_as_they_were(
    model_server: ModelServer, anthropic_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    own = [Reasoning("fake", "thinking", each) for each in (SIGNED, HIDDEN)]
    anthropic = make_upstream(anthropic_server.base_url, api=AnthropicProvider)
    await heard(anthropic, after(ask("thinking", "Hello."), *own))
    said = (await anthropic_server.seen()).last_body["messages"][1]
    assert said["content"] == [SIGNED, HIDDEN, {"type": "text", "text": "Ho"}]

    compatible = make_upstream(model_server.base_url)
    await heard(
        compatible, after(ask("thinking", "Hello."), Reasoning("fake", "thinking", THOUGHT))
    )
    said = (await model_server.seen()).last_body["messages"][1]
    assert said == {"role": "assistant", "content": "Ho", **THOUGHT}


@pytest.mark.parametrize("made_by", [("fake", "other"), ("other", "thinking")])
async def test_nobody_is_given_what_another_model_thought(
    model_server: ModelServer, make_upstream: MakeUpstream, made_by: tuple[str, str]
) -> None:
    registry = ModelRegistry([make_upstream(model_server.base_url)], default_model="thinking")
    request = after(ask("thinking", "Hello."), Reasoning(*made_by, THOUGHT))
    async for _ in registry.generate(request):
        pass
    said = (await model_server.seen()).last_body["messages"][1]
    assert said == {"role": "assistant", "content": "Ho"}


async def test_how_long_to_think_is_asked_in_the_words_of_each_api(
    model_server: ModelServer, anthropic_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    def wanting(options: Options) -> GenerationRequest:
        return replace(ask("echo", "Hello."), options=options)

    compatible = make_upstream(model_server.base_url)
    await heard(compatible, wanting(Options(effort="high")))
    assert (await model_server.seen()).last_body["reasoning_effort"] == "high"

    anthropic = make_upstream(anthropic_server.base_url, api=AnthropicProvider)
    await heard(anthropic, wanting(Options(effort="minimal", summary="auto")))
    body = (await anthropic_server.seen()).last_body
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": "low"}
    await heard(anthropic, wanting(Options(effort="none")))
    assert "thinking" not in (await anthropic_server.seen()).last_body
    with pytest.raises(InvalidRequestError, match="'auto'") as refused:
        await heard(anthropic, wanting(Options(summary="detailed")))
    assert refused.value.param == "reasoning.summary"
    # Chat completions have no word for it: whoever asks is told so, by its name.
    registry = ModelRegistry([compatible], default_model="echo")
    with pytest.raises(UnableError) as unable:
        await registry.require("echo", Options(summary="auto").needs())
    assert unable.value.param == "reasoning.summary"
