"""Anthropic's Messages API, spoken with a real server process that speaks it."""

import pytest

from tests.chat.providers.conftest import MakeUpstream, Pauses, answer, ask, collect
from tests.servers.model_server import KEY, ModelServer
from undercroft.chat.providers.anthropic import AnthropicProvider
from undercroft.chat.providers.budgets import Budgets
from undercroft.chat.providers.options import FunctionTool, Options, ToolChoice
from undercroft.chat.providers.protocol import (
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Message,
    ModelProvider,
    Role,
    TextDelta,
    ToolCall,
)
from undercroft.chat.providers.upstream_errors import UpstreamError
from undercroft.kit.errors import ErrorKind, InvalidRequestError

LOOK = FunctionTool("look", "Looks it up.", {"type": "object"}, is_strict=True)


@pytest.fixture
def provider(anthropic_server: ModelServer, make_upstream: MakeUpstream) -> ModelProvider:
    budgets = Budgets(attempts=1)
    return make_upstream(anthropic_server.base_url, api=AnthropicProvider, budgets=budgets)


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("400", ErrorKind.INVALID_REQUEST, "upstream_refused"),
        ("403", ErrorKind.UPSTREAM_FAILED, "upstream_unauthenticated"),
        ("404", ErrorKind.NOT_FOUND, "model_not_found"),
        ("429", ErrorKind.RATE_LIMITED, "upstream_rate_limited"),
        ("500", ErrorKind.UPSTREAM_FAILED, "upstream_failed"),
        ("529", ErrorKind.UNAVAILABLE, "upstream_unavailable"),
        ("never", ErrorKind.TIMED_OUT, "upstream_timed_out"),
        ("cut", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("end-early", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("error-midway", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("overloaded-midway", ErrorKind.UNAVAILABLE, "upstream_unavailable"),
        ("overloaded-first", ErrorKind.UNAVAILABLE, "upstream_unavailable"),
        ("garbage", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
    ],
)
async def test_every_failure_is_a_clear_error_without_the_key(
    model: str,
    kind: ErrorKind,
    code: str,
    anthropic_server: ModelServer,
    make_upstream: MakeUpstream,
) -> None:
    # Silence alone is given up soon: a busy machine is slow to say anything else.
    budgets = Budgets(first_token=1.0 if model == "never" else 60.0, attempts=1)
    provider = make_upstream(anthropic_server.base_url, api=AnthropicProvider, budgets=budgets)

    with pytest.raises(UpstreamError) as failed:
        await answer(provider, ask(model, "Hello."))

    assert (failed.value.kind, failed.value.code) == (kind, code)
    assert "fake" in failed.value.message
    assert KEY not in failed.value.message
    assert "/srv/" not in failed.value.message


async def test_a_wrong_key_is_the_operators_affair(
    anthropic_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    wrong = make_upstream(anthropic_server.base_url, api=AnthropicProvider, key="sk-wrong")
    with pytest.raises(UpstreamError) as failed:
        await answer(wrong, ask("echo", "Hello."))
    assert failed.value.code == "upstream_unauthenticated"
    assert "sk-wrong" not in failed.value.message


async def test_tries_again_when_it_is_overloaded(anthropic: ModelProvider, pauses: Pauses) -> None:
    texts, _ = await answer(anthropic, ask("529-once", "Hello there."))
    assert "".join(texts) == "Hello there."
    assert pauses.seconds == [1.0]


async def test_an_overload_told_in_the_stream_is_met_by_trying_again_only_before_the_first_word(
    anthropic_server: ModelServer, anthropic: ModelProvider, pauses: Pauses
) -> None:
    with pytest.raises(UpstreamError):
        await answer(anthropic, ask("overloaded-first", "Hello."))
    assert (await anthropic_server.seen()).requests == 3
    assert len(pauses.seconds) == 2

    events: list[GenerationEvent] = []
    with pytest.raises(UpstreamError):
        await collect(anthropic.generate(ask("overloaded-midway", "Hello.")), events)
    assert events == [TextDelta("half an")]
    assert (await anthropic_server.seen()).requests == 4


async def test_reuses_one_connection(
    anthropic_server: ModelServer, provider: ModelProvider
) -> None:
    for _ in range(5):
        await answer(provider, ask("echo", "Hello."))
    assert (await anthropic_server.seen()).connections == 1


async def test_sends_what_was_asked(anthropic_server: ModelServer, provider: ModelProvider) -> None:
    messages = (
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "What is it?"),
        Message(
            Role.ASSISTANT,
            "",
            (ToolCall("toolu_1", "look", '{"at": 1}'), ToolCall("toolu_2", "look", "")),
        ),
        Message(Role.TOOL, "one", tool_call_id="toolu_1"),
        Message(Role.TOOL, "two", tool_call_id="toolu_2"),
        Message(Role.SYSTEM, "In English."),
        Message(Role.USER, "Well?"),
    )
    await answer(
        provider,
        GenerationRequest(
            "echo",
            messages,
            max_output_tokens=9,
            temperature=0.0,
            top_p=0.5,
            stop=("END",),
            options=Options((LOOK, FunctionTool("now")), parallel_tool_calls=False),
        ),
    )
    assert (await anthropic_server.seen()).last_body == {
        "model": "echo",
        "system": "Be brief.\n\nIn English.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}},
                    {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "two"},
                    {"type": "text", "text": "Well?"},
                ],
            },
        ],
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "stream": True,
        "tools": [
            {
                "name": "look",
                "description": "Looks it up.",
                "input_schema": {"type": "object"},
                "strict": True,
            },
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    }


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(), {"type": "auto"}),
        (ToolChoice("none"), {"type": "none"}),
        (ToolChoice("required"), {"type": "any"}),
        (ToolChoice("required", "look"), {"type": "tool", "name": "look"}),
    ],
)
async def test_says_whether_to_call(
    choice: ToolChoice,
    sent: dict[str, str],
    anthropic_server: ModelServer,
    provider: ModelProvider,
) -> None:
    await answer(provider, ask("echo", "Hi.", options=Options((LOOK,), tool_choice=choice)))
    assert (await anthropic_server.seen()).last_body["tool_choice"] == sent


async def test_leaves_out_what_was_not_asked_but_the_limit_that_it_wants(
    anthropic_server: ModelServer, provider: ModelProvider
) -> None:
    await answer(provider, ask("echo", "Hello."))
    body = (await anthropic_server.seen()).last_body
    assert set(body) == {"model", "messages", "stream", "max_tokens"}


async def test_counts_what_came_from_the_cache(provider: ModelProvider) -> None:
    _, end = await answer(provider, ask("echo", "one two three"))
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage.estimated) == (3, 3, False)


async def test_a_filtered_answer_says_so(provider: ModelProvider) -> None:
    texts, end = await answer(provider, ask("filtered", "Hello."))
    assert (texts, end.reason) == ([], FinishReason.CONTENT_FILTER)


async def test_passes_over_what_it_does_not_know(provider: ModelProvider) -> None:
    events: list[GenerationEvent] = []
    await collect(provider.generate(ask("thoughtful", "Hello.")), events)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["thought"]


async def test_refuses_by_name_what_the_api_does_not_take(provider: ModelProvider) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await answer(provider, ask("echo", "Hello.", temperature=1.5))
    assert refused.value.param == "temperature"
    call = Message(Role.ASSISTANT, "", (ToolCall("toolu_1", "look", '["no object"]'),))
    with pytest.raises(InvalidRequestError) as refused:
        await answer(provider, GenerationRequest("echo", (Message(Role.USER, "Hi."), call)))
    assert refused.value.param == "input"


async def test_lists_models_with_the_context_they_all_have(provider: ModelProvider) -> None:
    echo = next(model for model in await provider.list_models() if model.id == "echo")
    assert (echo.owned_by, echo.created, echo.context_tokens) == ("fake", 1739923200, 200_000)
