"""A library of any size, the same from the same seed: words as frequent as Zipf says, vectors in clusters.

The words are the whole ones of the embedding model's vocabulary, which come in the order of how frequent they are in
English, and after those rare names that are made of two of them. Each document has a topic, which prefers some words to
others. The embedding model itself has placed the topics, so that a question that it embeds comes to lie where the
passages of its topic are.

Passages differ from their topic as topics differ from each other, and most in a few directions, as texts of one field
do. The local intrinsic dimension (Levina and Bickel's, of 20 neighbours) is 13.6 where 2,000 passages are of four
topics, as many as a topic has of a million. Of 2,035 passages of Cranfield that the built-in model has embedded it is
12.7, of XQuAD's 285 it is 10.7. With noise that was the same in all 384 directions it was 78: then all passages of a
topic are about equally near to a question, which no texts are, and no index tells them apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from undercroft.retrieval.embedding.protocol import Embedder

TOPICS: Final = 2_000
_WORDS: Final = 200_000
_ZIPF_EXPONENT: Final = 1.05
_ZIPF_OFFSET: Final = 2.7
_TOPIC_WORDS: Final = 200
_MOST_FREQUENT_TOPICAL: Final = 300
"""Words that are more frequent than this one are of no topic."""
_TOPICAL_SHARE: Final = 0.35
_TITLE_WORDS: Final = 5
_TOPIC_TEXT_WORDS: Final = 40
_SPREAD: Final = 0.8
"""How far a passage is from its topic, in the topic's length: then two of one topic have a cosine of about 0.6."""
_DECAY: Final = 4.0
"""How much more passages differ from their topic in the directions in which topics differ most."""
_PASSAGES_EACH: Final = 10
"""The mean of a document's passages."""
_MOST_PASSAGES: Final = 60
_PASSAGE_WORDS: Final = 120
"""The median of a passage's words, of which a chunk of the built-in model holds at most about 170."""
_MOST_PASSAGE_WORDS: Final = 170
_QUESTION_WORDS: Final = (3, 8)
_EMBEDDED_AT_ONCE: Final = 64

Places = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Passages:
    """Some consecutive ones of the library.

    Attributes:
        documents: The number of each one's document, from 1.
        ordinals: The place of each one in its document, from 0.
        titles: Of each one's document.
    """

    first: int
    documents: Places
    ordinals: Places
    titles: Sequence[str]
    texts: Sequence[str]
    vectors: Vectors


class Corpus:
    """The library.

    Args:
        vocabulary: Words, the most frequent first.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._words = np.array(vocabulary, dtype=object)
        self._frequency = _add_up(_zipf(len(vocabulary)))
        self._topic_frequency = _add_up(_zipf(_TOPIC_WORDS))
        self._topic_words = _topic_words(len(vocabulary))

    async def embed_topics(self, embedder: Embedder) -> npt.NDArray[np.float32]:
        """A unit vector for each topic, by its words."""
        texts = [" ".join(self._words[row[:_TOPIC_TEXT_WORDS]]) for row in self._topic_words]
        vectors = [
            await embedder.embed(texts[start : start + _EMBEDDED_AT_ONCE])
            for start in range(0, TOPICS, _EMBEDDED_AT_ONCE)
        ]
        return np.concatenate(vectors)

    def passages(
        self, topic_vectors: npt.NDArray[np.float32], count: int, at_once: int
    ) -> Iterator[Passages]:
        """The first so many passages of the library, in their order."""
        draw, axes = np.random.default_rng(1), _spread_axes(topic_vectors)
        lengths = np.minimum(draw.geometric(1 / _PASSAGES_EACH, count), _MOST_PASSAGES)
        documents = np.repeat(np.arange(1, count + 1), lengths)[:count]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        ordinals = np.arange(count) - starts[documents - 1]
        topics = draw.integers(TOPICS, size=count)
        titles = self._titles(topics[: documents[-1]], draw)
        for first in range(0, count, at_once):
            part = slice(first, min(first + at_once, count))
            topic = topics[documents[part] - 1]
            yield Passages(
                first,
                documents[part],
                ordinals[part],
                [titles[number - 1] for number in documents[part]],
                self._texts(topic, draw),
                _draw_vectors(topic_vectors[topic], axes, draw),
            )

    def questions(self, count: int) -> list[str]:
        """Questions of a few words each, some of its topic and some of any."""
        draw = np.random.default_rng(2)
        asked: list[str] = []
        for topic in draw.integers(TOPICS, size=count):
            size = int(draw.integers(*_QUESTION_WORDS, endpoint=True))
            places = self._draw_words(np.full(size, topic), draw, topical=0.6)
            asked.append(" ".join(self._words[places]))
        return asked

    def _titles(self, topics: Places, draw: np.random.Generator) -> list[str]:
        places = self._draw_words(np.repeat(topics, _TITLE_WORDS), draw, topical=0.8)
        return [" ".join(row) for row in self._words[places].reshape(-1, _TITLE_WORDS)]

    def _texts(self, topics: Places, draw: np.random.Generator) -> list[str]:
        lengths = _PASSAGE_WORDS * draw.lognormal(sigma=0.3, size=len(topics))
        lengths = np.clip(lengths.astype(np.int64), 10, _MOST_PASSAGE_WORDS)
        places = self._draw_words(np.repeat(topics, lengths), draw, topical=_TOPICAL_SHARE)
        words = self._words[places]
        ends = np.cumsum(lengths)
        return [
            " ".join(words[end - length : end]) + "."
            for end, length in zip(ends, lengths, strict=True)
        ]

    def _draw_words(self, topics: Places, draw: np.random.Generator, *, topical: float) -> Places:
        """A word for each of these topics: so often one of the topic's, else any."""
        places = np.searchsorted(self._frequency, draw.random(len(topics)))
        is_topical = draw.random(len(topics)) < topical
        ranks = np.searchsorted(self._topic_frequency, draw.random(int(is_topical.sum())))
        places[is_topical] = self._topic_words[topics[is_topical], ranks]
        return places


def make_vocabulary(tokens: dict[str, int]) -> list[str]:
    """Words, the most frequent first.

    Args:
        tokens: Those of the embedding model, numbered in the order of how frequent they are.
    """
    whole = [token for token in tokens if token.isascii() and token.isalpha() and len(token) > 1]
    whole.sort(key=tokens.__getitem__)
    draw = np.random.default_rng(3)
    names: dict[str, None] = {}
    while len(whole) + len(names) < _WORDS:
        first, second = draw.integers(1_000, len(whole), size=2)
        names[whole[first] + whole[second]] = None
    return [*whole, *names]


def _spread_axes(topics: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The directions in which passages differ from their topic, each as long as they differ in it."""
    _, lengths, axes = np.linalg.svd(topics - topics.mean(axis=0), full_matrices=False)
    lengths = lengths**_DECAY
    lengths *= _SPREAD / np.linalg.norm(lengths)
    return (lengths[:, None] * axes).astype(np.float32)


def _draw_vectors(
    topics: npt.NDArray[np.float32], axes: npt.NDArray[np.float32], draw: np.random.Generator
) -> Vectors:
    """A unit vector near each of these."""
    noise = draw.standard_normal((len(topics), len(axes)), dtype=np.float32)
    vectors = topics + noise @ axes
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def _topic_words(count: int) -> Places:
    """Of each topic the words that it prefers, the ones that it prefers most first."""
    draw = np.random.default_rng(0)
    # The logarithm of a rank, evenly: of a topic are a few frequent words and many rare ones.
    ranks = np.exp(
        draw.uniform(np.log(_MOST_FREQUENT_TOPICAL), np.log(count - 1), (TOPICS, _TOPIC_WORDS))
    )
    return ranks.astype(np.int64)


def _zipf(count: int) -> npt.NDArray[np.float64]:
    return 1 / (np.arange(count) + _ZIPF_OFFSET) ** _ZIPF_EXPONENT


def _add_up(frequencies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """So that a number below 1 finds its word."""
    total = np.cumsum(frequencies)
    return total / total[-1]
