"""The client's functions, JSON and what else goes beyond text, at every provider that takes it."""

import json
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.chat.providers.conftest import MakeLocal, MakeUpstream, answer, ask, collect
from tests.servers.model_server import ModelServer
from undercroft.chat.providers.extractive import ExtractiveProvider
from undercroft.chat.providers.local import SMOLLM2_ID
from undercroft.chat.providers.options import (
    Ability,
    FunctionTool,
    JsonOutput,
    Options,
    ToolChoice,
)
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Message,
    ModelProvider,
    Role,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from undercroft.chat.providers.registry import ModelRegistry, UnableError
from undercroft.chat.providers.upstream_errors import UpstreamError
from undercroft.kit.errors import InvalidRequestError

LOOK = FunctionTool("look", "Looks it up.", {"type": "object"})
NOW = FunctionTool("now")
COLOUR = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
}


@pytest.fixture(params=["openai_compatible", "anthropic"])
def provider(request: pytest.FixtureRequest) -> ModelProvider:
    made: ModelProvider = request.getfixturevalue(request.param)
    return made


async def events_of(provider: ModelProvider, request: GenerationRequest) -> list[GenerationEvent]:
    async with aclosing(provider.generate(request)) as events:
        return [event async for event in events]


def calls_of(events: list[GenerationEvent]) -> list[ToolCall]:
    """The calls, put together; each must begin with its id and name, in the order of their numbers."""
    calls: list[ToolCall] = []
    for event in events:
        if not isinstance(event, ToolCallDelta):
            continue
        if event.index == len(calls):
            assert event.id
            assert event.name
            calls.append(ToolCall(event.id, event.name, event.arguments))
        else:
            assert (event.id, event.name) == (None, None)
            assert event.arguments
            last = calls[event.index]
            calls[event.index] = replace(last, arguments=last.arguments + event.arguments)
    return calls


async def test_calls_stream_after_the_text_and_end_with_their_own_reason(
    provider: ModelProvider,
) -> None:
    request = ask("functions", "What is it?", options=Options((LOOK, NOW)))
    events = await events_of(provider, request)

    assert events[0] == TextDelta("Let me look.")
    first, second = calls_of(events)
    assert (first.name, second.name) == ("look", "now")
    assert first.id != second.id
    assert json.loads(first.arguments) == json.loads(second.arguments) == {"asked": "What is it?"}
    assert len([event for event in events if isinstance(event, ToolCallDelta)]) > 8
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.TOOL_CALLS
    assert (end.usage.input_tokens, end.usage.output_tokens) == (9, 7)


async def test_results_are_given_back_and_answered(provider: ModelProvider) -> None:
    messages = (
        Message(Role.USER, "What is it?"),
        Message(Role.ASSISTANT, "Let me look.", (ToolCall("call_0", "look", '{"asked": "it"}'),)),
        Message(Role.TOOL, "a lamp", tool_call_id="call_0"),
    )
    request = GenerationRequest("functions", messages, options=Options((LOOK,)))
    texts, end = await answer(provider, request)
    assert "".join(texts) == "It said: a lamp"
    assert end.reason is FinishReason.STOP


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (Options((LOOK, NOW), parallel_tool_calls=False), ["look"]),
        (Options((LOOK, NOW), tool_choice=ToolChoice("required", "now")), ["now"]),
        (Options((LOOK, NOW), tool_choice=ToolChoice("none")), []),
    ],
)
async def test_only_what_may_be_called_is(
    options: Options, names: list[str], provider: ModelProvider
) -> None:
    events = await events_of(provider, ask("functions", "What is it?", options=options))
    assert [call.name for call in calls_of(events)] == names
    reason = FinishReason.TOOL_CALLS if names else FinishReason.STOP
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is reason


async def test_a_call_that_breaks_off_is_never_tried_again(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    """Its beginning was seen: the arguments of one model are not continued by another."""
    providers = [make_upstream(model_server.base_url, name=name) for name in ("a", "b")]
    registry = ModelRegistry(providers, default_model="echo")
    events: list[GenerationEvent] = []
    with pytest.raises(UpstreamError):
        await collect(registry.generate(ask("call-cut", "Hi.", options=Options((LOOK,)))), events)
    assert events == [ToolCallDelta(0, '{"as', "call_0", "look")]
    assert (await model_server.seen()).requests == 1


async def test_calls_that_come_whole_and_unnumbered_are_numbered(
    openai_compatible: ModelProvider,
) -> None:
    events = await events_of(openai_compatible, ask("call-whole", "Hi.", options=Options((LOOK,))))
    assert events[:2] == [
        ToolCallDelta(0, "{}", "call_first", "first"),
        ToolCallDelta(1, "{}", "call_second", "second"),
    ]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.TOOL_CALLS


async def test_a_call_without_a_name_is_no_answer(openai_compatible: ModelProvider) -> None:
    with pytest.raises(UpstreamError, match="no chat completion"):
        await events_of(openai_compatible, ask("call-nameless", "Hi.", options=Options((LOOK,))))


async def test_a_call_without_arguments_has_an_empty_object(anthropic: ModelProvider) -> None:
    events = await events_of(anthropic, ask("call-bare", "When?", options=Options((NOW,))))
    assert calls_of(events) == [ToolCall("toolu_1", "now", "{}")]


async def test_what_was_asked_beyond_text_is_sent_on(
    model_server: ModelServer, openai_compatible: ModelProvider
) -> None:
    options = Options(
        tools=(replace(LOOK, is_strict=True), NOW),
        tool_choice=ToolChoice("required"),
        parallel_tool_calls=True,
        output=JsonOutput(COLOUR, "colour", "A colour.", is_strict=True),
        seed=7,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        logit_bias={"50256": -100.0},
        top_logprobs=3,
    )
    await events_of(openai_compatible, ask("echo", "Hi.", options=options))

    body = (await model_server.seen()).last_body
    sent = set(body) - {"model", "messages", "stream", "stream_options"}
    look = {"name": "look", "description": "Looks it up.", "parameters": {"type": "object"}}
    assert {name: body[name] for name in sent} == {
        "tools": [
            {"type": "function", "function": {**look, "strict": True}},
            {"type": "function", "function": {"name": "now"}},
        ],
        "tool_choice": "required",
        "parallel_tool_calls": True,
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "colour",
                "description": "A colour.",
                "schema": COLOUR,
                "strict": True,
            },
        },
        "seed": 7,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "logit_bias": {"50256": -100.0},
        "logprobs": True,
        "top_logprobs": 3,
    }


async def test_how_likely_tokens_were_comes_with_the_text_they_became(
    openai_compatible: ModelProvider,
) -> None:
    events = await events_of(
        openai_compatible, ask("likely", "Hi.", options=Options(top_logprobs=1))
    )
    top = (TokenLogprob("t0", 0.0),)
    assert events[:2] == [
        TextDelta(
            "é",
            (
                TokenLogprob("\\xc3", -0.5, (195,), top),
                TokenLogprob("\\xa9", -1.0, (169,), top),
            ),
        ),
        TextDelta("ta", (TokenLogprob("ta", -1.5, (116, 97), top),)),
    ]


async def test_json_is_asked_of_a_server_that_makes_it(openai_compatible: ModelProvider) -> None:
    options = Options(output=JsonOutput())
    texts, _ = await answer(openai_compatible, ask("formed", "Hi.", options=options))
    assert json.loads("".join(texts)) == {"colour": "blue"}


@pytest.mark.parametrize("schema", [None, COLOUR])
async def test_json_is_told_in_words_to_a_server_that_does_not_make_it(
    schema: dict[str, object] | None, anthropic_server: ModelServer, anthropic: ModelProvider
) -> None:
    options = Options(output=JsonOutput(schema, description="A colour."))
    texts, _ = await answer(anthropic, ask("formed", "Hi.", options=options))
    assert json.loads("".join(texts)) == {"colour": "blue"}
    system = (await anthropic_server.seen()).last_body["system"]
    assert "one JSON object" in system
    assert "A colour." in system
    assert ('"required": ["colour"]' in system) == (schema is not None)


@pytest.mark.parametrize(
    ("model", "said", "schema", "why"),
    [
        ("echo", "plain words", None, "is no JSON."),
        ("echo", "[1]", None, "is no JSON object."),
        ("formed", "Hi.", {"type": "object", "required": ["size"]}, "does not satisfy the schema."),
    ],
)
async def test_an_answer_without_the_form_is_an_error_at_its_end(
    model: str,
    said: str,
    schema: dict[str, object] | None,
    why: str,
    anthropic: ModelProvider,
) -> None:
    options = Options(output=JsonOutput(schema))
    events: list[GenerationEvent] = []
    with pytest.raises(UpstreamError) as failed:
        await collect(anthropic.generate(ask(model, said, options=options)), events)
    assert why in failed.value.message
    assert failed.value.code == "model_output_invalid"
    assert events
    assert not any(isinstance(event, Finished) for event in events)


async def test_an_object_that_was_cut_off_says_so_by_its_reason(
    anthropic: ModelProvider,
) -> None:
    options = Options(output=JsonOutput(COLOUR))
    _, end = await answer(anthropic, ask("cut-object", "Hi.", options=options))
    assert end.reason is FinishReason.LENGTH


async def test_a_schema_that_is_none_is_refused_before_anything_is_asked(
    anthropic_server: ModelServer, anthropic: ModelProvider
) -> None:
    options = Options(output=JsonOutput({"type": "nothing"}))
    with pytest.raises(InvalidRequestError) as refused:
        await answer(anthropic, ask("formed", "Hi.", options=options))
    assert refused.value.param == "response_format"
    assert (await anthropic_server.seen()).requests == 0


async def test_the_built_in_model_is_held_to_the_form_and_takes_a_seed(
    make_local: MakeLocal,
) -> None:
    local = make_local()
    # Ended before it can have said anything that an object has.
    options = Options(output=JsonOutput(COLOUR))
    stop = ("{", " ", "a", "e", "i", "o")
    request = ask(SMOLLM2_ID, "Say hello.", max_output_tokens=60, stop=stop, options=options)
    with pytest.raises(UpstreamError) as failed:
        await answer(local, request)
    assert failed.value.code == "model_output_invalid"
    seeded = ask(SMOLLM2_ID, "Say a word.", max_output_tokens=4, temperature=1.5)
    seeded = replace(seeded, options=Options(seed=5))
    assert await answer(local, seeded) == await answer(local, seeded)


ASKED: dict[Ability, Options] = {
    Ability.TOOLS: Options((LOOK,)),
    Ability.JSON: Options(output=JsonOutput()),
    Ability.SEED: Options(seed=1),
    Ability.FREQUENCY_PENALTY: Options(frequency_penalty=1.0),
    Ability.PRESENCE_PENALTY: Options(presence_penalty=1.0),
    Ability.LOGIT_BIAS: Options(logit_bias={"1": 1.0}),
    Ability.LOGPROBS: Options(top_logprobs=0),
}


@pytest.mark.parametrize("ability", ASKED)
async def test_what_a_model_cannot_do_is_refused_by_name(
    ability: Ability,
    anthropic_server: ModelServer,
    anthropic: ModelProvider,
    make_local: MakeLocal,
) -> None:
    for provider, model in (
        (ExtractiveProvider(), "extractive"),
        (make_local(), SMOLLM2_ID),
        (anthropic, "echo"),
    ):
        if ability in provider.abilities:
            continue
        registry = ModelRegistry([provider], default_model=model)
        with pytest.raises(UnableError) as refused:
            await collect(registry.generate(ask(model, "Hi.", options=ASKED[ability])), [])
        assert refused.value.param == ability.value
    assert (await anthropic_server.seen()).requests == 0


async def test_a_conversation_with_calls_needs_a_model_that_makes_them() -> None:
    registry = ModelRegistry([ExtractiveProvider()], default_model="extractive")
    result = Message(Role.TOOL, "a lamp", tool_call_id="call_0")
    request = GenerationRequest("extractive", (Message(Role.USER, "Hi."), result))
    with pytest.raises(UnableError) as refused:
        await collect(registry.generate(request), [])
    assert refused.value.param == "tools"


async def test_those_who_cannot_are_passed_over(
    model_server: ModelServer,
    anthropic_server: ModelServer,
    anthropic: ModelProvider,
    make_upstream: MakeUpstream,
) -> None:
    able = make_upstream(model_server.base_url, name="second")
    registry = ModelRegistry([anthropic, able], default_model="echo")
    await collect(registry.generate(ask("echo", "Hi.", options=Options(seed=1))), [])
    assert (await anthropic_server.seen()).requests == 0
    assert (await model_server.seen()).requests == 1
