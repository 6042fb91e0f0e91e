import asyncio
import contextlib
import socket

import pytest

from tests.chat.providers.conftest import MakeUpstream, Pauses, answer, ask, collect
from tests.servers.model_server import KEY, ModelServer, running_model_server
from undercroft.chat.providers.budgets import Budgets
from undercroft.chat.providers.protocol import FinishReason, GenerationEvent, TextDelta
from undercroft.chat.providers.upstream_errors import UpstreamError
from undercroft.kit.errors import ErrorKind


@pytest.fixture
def closed_port() -> str:
    """A base URL where nobody listens."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("400", ErrorKind.INVALID_REQUEST, "upstream_refused"),
        ("403", ErrorKind.UPSTREAM_FAILED, "upstream_unauthenticated"),
        ("404", ErrorKind.NOT_FOUND, "model_not_found"),
        ("429", ErrorKind.RATE_LIMITED, "upstream_rate_limited"),
        ("500", ErrorKind.UPSTREAM_FAILED, "upstream_failed"),
        ("503", ErrorKind.UNAVAILABLE, "upstream_unavailable"),
        ("never", ErrorKind.TIMED_OUT, "upstream_timed_out"),
        ("stall", ErrorKind.TIMED_OUT, "upstream_timed_out"),
        ("cut", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("end-early", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("error-midway", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("aborted", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("garbage", ErrorKind.UPSTREAM_FAILED, "upstream_broken_off"),
        ("huge-line", ErrorKind.UPSTREAM_FAILED, "upstream_too_large"),
        ("huge-answer", ErrorKind.UPSTREAM_FAILED, "upstream_too_large"),
    ],
)
async def test_every_failure_is_a_clear_error_without_the_key(
    model: str, kind: ErrorKind, code: str, model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    # Silence alone is given up soon: a busy machine is slow to say anything else.
    budgets = Budgets(
        first_token=1.0 if model == "never" else 60.0,
        between_tokens=0.2 if model == "stall" else 60.0,
        response_bytes=1024 * 1024,
    )
    provider = make_upstream(model_server.base_url, budgets=budgets)

    with pytest.raises(UpstreamError) as failed:
        await answer(provider, ask(model, "Hello."))

    assert (failed.value.kind, failed.value.code) == (kind, code)
    assert "fake" in failed.value.message
    assert KEY not in failed.value.message
    assert "/srv/" not in failed.value.message


async def test_a_wrong_key_is_the_operators_affair(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(model_server.base_url, key="sk-wrong")

    with pytest.raises(UpstreamError) as failed:
        await answer(provider, ask("echo", "Hello."))

    assert failed.value.status == 502
    assert "sk-wrong" not in failed.value.message
    assert "key" in failed.value.message


async def test_a_server_that_is_down_is_unreachable(
    closed_port: str, make_upstream: MakeUpstream, pauses: Pauses
) -> None:
    with pytest.raises(UpstreamError) as failed:
        await answer(make_upstream(closed_port), ask("echo", "Hello."))

    assert failed.value.code == "upstream_unreachable"
    assert pauses.seconds == [0.125, 0.25]


async def test_the_wait_asked_for_is_kept(
    model_server: ModelServer, make_upstream: MakeUpstream, pauses: Pauses
) -> None:
    with pytest.raises(UpstreamError) as failed:
        await answer(make_upstream(model_server.base_url), ask("429", "Hello."))

    assert failed.value.retry_after == 7
    assert pauses.seconds == []  # 7 s are longer than a caller should wait unasked
    assert (await model_server.seen()).requests == 1


@pytest.mark.parametrize(("model", "pause"), [("429-once", 1.0), ("cut-once", 0.125)])
async def test_tries_again_before_the_first_token(
    model: str, pause: float, model_server: ModelServer, make_upstream: MakeUpstream, pauses: Pauses
) -> None:
    texts, _ = await answer(make_upstream(model_server.base_url), ask(model, "Hello there."))

    assert "".join(texts) == "Hello there."
    assert pauses.seconds == [pause]
    assert (await model_server.seen()).requests == 2


async def test_never_tries_again_after_the_first_token(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(model_server.base_url)
    events: list[GenerationEvent] = []

    with pytest.raises(UpstreamError):
        await collect(provider.generate(ask("cut", "Hello.")), events)

    assert events == [TextDelta("half an")]
    assert (await model_server.seen()).requests == 1


async def test_gives_up_after_a_few_attempts(
    model_server: ModelServer, make_upstream: MakeUpstream, pauses: Pauses
) -> None:
    with pytest.raises(UpstreamError):
        await answer(make_upstream(model_server.base_url), ask("500", "Hello."))

    assert (await model_server.seen()).requests == 3
    assert pauses.seconds == [0.125, 0.25]


@pytest.mark.parametrize("model", ["echo", "late-end"])
async def test_reuses_one_connection(
    model: str, model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(model_server.base_url)
    for _ in range(5):
        await answer(provider, ask(model, "Hello."))

    assert (await model_server.seen()).connections == 1


async def test_an_empty_event_is_no_first_token(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    """Some servers open the stream before they have read the prompt."""
    budgets = Budgets(first_token=30, between_tokens=0.8)
    texts, _ = await answer(
        make_upstream(model_server.base_url, budgets=budgets), ask("slow-start", "Hello.")
    )

    assert texts == ["ready"]


async def test_an_early_close_reaches_the_server(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    """Also before the first token, while only comments arrive."""
    provider = make_upstream(model_server.base_url)
    waiting = asyncio.create_task(answer(provider, ask("never", "Hello.")))
    await model_server.until(lambda seen: seen.running == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await model_server.until(lambda seen: seen.cancelled == 1 and seen.running == 0)


async def test_sends_what_was_asked(model_server: ModelServer, make_upstream: MakeUpstream) -> None:
    request = ask("echo", "Hello.", max_output_tokens=9, temperature=0.0, top_p=0.5, stop=("END",))
    await answer(make_upstream(model_server.base_url), request)

    assert (await model_server.seen()).last_body == {
        "model": "echo",
        "messages": [{"role": "user", "content": "Hello."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END"],
    }


async def test_leaves_out_what_was_not_asked(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    await answer(make_upstream(model_server.base_url), ask("echo", "Hello."))

    assert set((await model_server.seen()).last_body) == {
        "model",
        "messages",
        "stream",
        "stream_options",
    }


async def test_learns_the_newer_name_of_the_limit(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(model_server.base_url)
    for _ in range(2):
        _, end = await answer(provider, ask("newer-limit", "one two three", max_output_tokens=2))
        assert end.reason is FinishReason.LENGTH

    assert (await model_server.seen()).requests == 3


async def test_an_uncounted_answer_is_marked_as_estimated(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    _, end = await answer(make_upstream(model_server.base_url), ask("no-usage", "x" * 10))

    assert end.usage.estimated
    assert (end.usage.input_tokens, end.usage.output_tokens) == (3, 2)


async def test_a_reason_without_done_is_an_end(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    texts, end = await answer(make_upstream(model_server.base_url), ask("no-done", "Hello."))

    assert texts == ["all of it"]
    assert end.reason is FinishReason.STOP


async def test_a_filtered_answer_says_so(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    texts, end = await answer(make_upstream(model_server.base_url), ask("filtered", "Hello."))

    assert texts == []
    assert end.reason is FinishReason.CONTENT_FILTER


async def test_models_are_asked_for_once_in_a_while(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    provider = make_upstream(model_server.base_url)
    listings = await asyncio.gather(*(provider.list_models() for _ in range(5)))

    assert len(set(listings)) == 1
    assert (await model_server.seen()).listings == 1
    echo = next(model for model in listings[0] if model.id == "echo")
    assert (echo.owned_by, echo.created, echo.context_tokens) == ("tests", 1, 4096)


@pytest.mark.parametrize("listing", ["slow", "broken"])
async def test_a_server_that_cannot_list_is_not_asked_each_time(
    listing: str, make_upstream: MakeUpstream
) -> None:
    with running_model_server(listing) as server:
        # Long enough that the one that never answers is asked within that.
        provider = make_upstream(server.base_url, budgets=Budgets(listing=2.0))
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await provider.list_models()

        assert (await server.seen()).listings == 1
