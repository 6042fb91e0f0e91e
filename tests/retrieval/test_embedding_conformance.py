"""What every embedder promises, asked of each implementation."""

import asyncio
import random

import numpy as np
import pytest

from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.retrieval.embedding.protocol import Embedder

WORDS = (
    "the",
    "tenant",
    "pays",
    "rent",
    "by",
    "the",
    "fifth",
    "day",
    "of",
    "each",
    "month",
    "unless",
)


def _texts(count: int, seed: int = 7) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, 300))) for _ in range(count)]


# Computed with the 32-bit model; the first three are the example of the model's documentation.
SIMILARITIES = [
    ("That is a happy person", "That is a happy dog", 0.6946),
    ("That is a happy person", "That is a very happy person", 0.9429),
    ("That is a happy person", "Today is a sunny day", 0.2569),
    (
        "The tenant must pay the rent by the fifth of each month.",
        "Rent is due no later than the 5th day of every month.",
        0.7359,
    ),
    (
        "How do I reset my password?",
        "I forgot my login credentials and need new ones.",
        0.5936,
    ),
    (
        "The tenant must pay the rent by the fifth of each month.",
        "Photosynthesis turns light into chemical energy.",
        0.0223,
    ),
]


@pytest.mark.parametrize(("one", "other", "expected"), SIMILARITIES)
async def test_similarities_are_those_of_the_exact_model(
    embedder: Embedder, one: str, other: str, expected: float
) -> None:
    vectors = await embedder.embed([one, other])
    assert float(vectors[0] @ vectors[1]) == pytest.approx(expected, abs=0.06)


async def test_vectors_are_finite_unit_rows_of_single_precision(embedder: Embedder) -> None:
    vectors = await embedder.embed(_texts(40))
    assert vectors.shape == (40, embedder.model.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


async def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape == (0, embedder.model.dimensions)


async def test_order_is_kept_and_company_hardly_matters(embedder: Embedder) -> None:
    texts = _texts(150)
    together = await embedder.embed(texts)
    for position in range(0, 150, 13):
        alone = (await embedder.embed([texts[position]]))[0]
        similarities = together @ alone
        assert similarities[position] > 0.99
        # Texts of the same words are alike: the right row has to be the most alike.
        assert int(similarities.argmax()) == position


async def test_same_texts_give_same_vectors(embedder: Embedder) -> None:
    texts = _texts(30)
    np.testing.assert_array_equal(await embedder.embed(texts), await embedder.embed(texts))


async def test_calls_at_once_do_not_mix(embedder: Embedder) -> None:
    groups = [_texts(count, seed=count) for count in (1, 2, 3, 20, 70, 1)]
    expected = [await embedder.embed(group) for group in groups]
    actual = await asyncio.gather(*(embedder.embed(group) for group in groups))
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\ud800",
        "a\udfffb",
        "\ud83d\ude00",
        "\x00",
        "\u202e\u0301",
        "x" * 100_000,
        "word " * 50_000,
        "🏛️" * 5_000,
        "[SEP][PAD][CLS]",
    ],
    ids=lambda text: ascii(text)[:20],
)
async def test_any_text_has_a_vector(embedder: Embedder, text: str) -> None:
    few = await embedder.embed([text])
    many = await embedder.embed([text, "b", "c", text])
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1.0, atol=1e-5)


async def test_surrogates_that_pair_are_their_character(embedder: Embedder) -> None:
    vectors = await embedder.embed(["smile 😀", "smile \ud83d\ude00"])
    np.testing.assert_array_equal(vectors[0], vectors[1])


async def test_long_text_is_read_from_its_beginning(embedder: Embedder) -> None:
    beginning = "rent " * (embedder.model.max_tokens - 2)
    vectors = await embedder.embed([beginning, beginning + "glacier " * 500])
    np.testing.assert_array_equal(vectors[0], vectors[1])


async def test_tokens_are_those_that_the_model_read(embedder: Embedder) -> None:
    texts = ["", "rent", "rent is due", "rent " * 1000]
    counted = await embedder.embed_counted(texts)
    assert counted.tokens == 2 + 3 + 5 + embedder.model.max_tokens


async def test_cancelled_call_leaves_the_embedder_working(embedder: Embedder) -> None:
    calls = [asyncio.create_task(embedder.embed(_texts(400))) for _ in range(3)]
    survivor = asyncio.create_task(embedder.embed(["rent"]))
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    np.testing.assert_array_equal(await survivor, await embedder.embed(["rent"]))


async def test_closed_embedder_says_so(embedder: Embedder) -> None:
    await embedder.close()
    for texts in (["rent"], _texts(10)):
        with pytest.raises(UndercroftError) as caught:
            await embedder.embed(texts)
        assert caught.value.kind is ErrorKind.UNAVAILABLE
