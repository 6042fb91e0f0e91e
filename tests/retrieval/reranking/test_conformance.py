"""What every reranker promises."""

import asyncio
import math

import pytest

from undercroft.kit.errors import UnavailableError
from undercroft.retrieval.reranking.protocol import Reranker

TEXTS = ["a boat", "the clock is due", "who repaired the clock", "nothing of it"]


async def test_what_answers_better_has_the_higher_score(reranker: Reranker) -> None:
    scores = await reranker.score("who repaired the clock", TEXTS)
    assert len(scores) == len(TEXTS)
    order = sorted(range(len(TEXTS)), key=lambda place: -scores[place])
    assert order[:2] == [2, 1]
    assert all(map(math.isfinite, scores))


async def test_scores_come_in_the_order_of_the_texts(reranker: Reranker) -> None:
    forwards = await reranker.score("who repaired the clock", TEXTS)
    backwards = await reranker.score("who repaired the clock", TEXTS[::-1])
    assert backwards == forwards[::-1]


async def test_any_text_is_a_text(reranker: Reranker) -> None:
    odd = ["", "\ud83d", "\ud83c\udfe0", "mill " * 20_000, "\x00", "דוד", "the mill"]
    scores = await reranker.score("the mill \udfe0", odd)
    assert all(map(math.isfinite, scores))
    assert scores[-1] > scores[0]
    assert len(await reranker.score("", ["mill"])) == 1


async def test_nothing_has_no_scores(reranker: Reranker) -> None:
    assert await reranker.score("mill", []) == []


async def test_calls_at_once_do_not_mix(reranker: Reranker) -> None:
    found = await asyncio.gather(
        *(reranker.score(word, ["mill", "clock"]) for word in ("mill", "clock") * 20)
    )
    assert [first > second for first, second in found] == [True, False] * 20


async def test_a_cancelled_call_ends_and_the_next_is_answered(reranker: Reranker) -> None:
    call = asyncio.create_task(reranker.score("mill", ["mill " * 400] * 200))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await reranker.score("mill", ["mill", "boat"]) > [0.0, 0.0]


async def test_closed_it_says_so(reranker: Reranker) -> None:
    await reranker.close()
    with pytest.raises(UnavailableError):
        await reranker.score("mill", ["mill"])
