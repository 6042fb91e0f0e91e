"""Passages read into sentences and terms, once, for everything that compares texts. Pure.

The bounds here bound the work of ranking and of checking citations, whatever is sent.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from undercroft.chat.providers.protocol import Passage
from undercroft.chat.sentences import Span, is_row, is_title, sentence_spans
from undercroft.chat.terms import Token, content_terms, tokens

MAX_PASSAGES: Final = 32
MAX_PASSAGE_LENGTH: Final = 8_000
MAX_SENTENCES: Final = 200
"""Passages, characters of each and sentences of each beyond which nothing is looked at."""

MAX_QUESTION_LENGTH: Final = 2_000
"""Characters of a question beyond which nothing is looked at."""


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """A sentence of a passage.

    Attributes:
        text: The sentence.
        span: Its offsets in the passage's text.
        tokens: Its tokens, with offsets in the passage's text.
        terms: Its content terms.
        context: The content terms of what says what it is about: the document's name, the headings, the nearest
            title above it in the passage, and its table's first row.
        title: Whether it looks like a title itself.
    """

    text: str
    span: Span
    tokens: tuple[Token, ...]
    terms: frozenset[str]
    context: frozenset[str]
    title: bool


@dataclass(frozen=True, slots=True)
class ReadPassage:
    """A passage in the form in which texts are compared.

    Attributes:
        passage: The passage.
        tokens: All its tokens in order.
        sentences: Its sentences in order.
        terms: The content terms of all its sentences and their context.
    """

    passage: Passage
    tokens: tuple[Token, ...]
    sentences: tuple[ReadSentence, ...]
    terms: frozenset[str]


def read_passages(passages: Sequence[Passage]) -> tuple[ReadPassage, ...]:
    """Reads passages, which come best first."""
    return tuple(_read(passage) for passage in passages[:MAX_PASSAGES])


def _read(passage: Passage) -> ReadPassage:
    text = passage.text[:MAX_PASSAGE_LENGTH]
    words = tuple(tokens(text))
    sentences = tuple(_sentences(text, words, _named(passage)))
    terms = frozenset[str]().union(*(it.terms | it.context for it in sentences))
    return ReadPassage(passage, words, sentences, terms)


def _named(passage: Passage) -> frozenset[str]:
    name = passage.filename.replace("_", " ")
    return frozenset(content_terms(" ".join((name, *passage.headings))))


def _sentences(text: str, words: Sequence[Token], named: frozenset[str]) -> Iterator[ReadSentence]:
    starts = [word.start for word in words]
    title, head = frozenset[str](), frozenset[str]()
    in_table = False
    for span in sentence_spans(text)[:MAX_SENTENCES]:
        sentence = text[span.start : span.end]
        inside = tuple(words[bisect_left(starts, span.start) : bisect_left(starts, span.end)])
        terms = frozenset(token.term for token in inside if token.content)
        titled = is_title(sentence)
        yield ReadSentence(sentence, span, inside, terms, named | title | head, titled)
        row = is_row(sentence)
        if titled:
            title = terms
        if not row:
            head = frozenset[str]()
        elif not in_table:
            head = terms
        in_table = row
