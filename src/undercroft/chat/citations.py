"""Citations that hold, made while the answer streams. Pure.

A model's own ``[3]`` is a wish. The annotator takes every such marker out of the text, looks for the words of a passage
that really support the sentence, and only then writes a marker of its own at the sentence's end. So each ``[n]`` that a
reader sees stands for a quote that occurs, character for character, in passage n.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from undercroft.chat.grounding import REFUSAL
from undercroft.chat.providers.protocol import UNCITED, Passage
from undercroft.chat.sentences import MAX_SENTENCE, settled_sentence_end, unsettled_cut
from undercroft.chat.support import Quote, SupportIndex
from undercroft.chat.terms import content_terms

UNSUPPORTED_NOTE: Final = (
    "Parts of this answer could not be matched to your documents; check them before relying on it."
)
"""What the service appends when ``Support.complete`` is False."""

_MARKERS: Final = re.compile(r"(?<![ \t])[ \t]*\[\d{1,3}\](?:[ \t]*\[\d{1,3}\])*")
_MAY_CONTINUE: Final = re.compile(r"[ \t]*(?:\[\d{0,3})?")
_PARTIAL_MARKER: Final = re.compile(r"\[\d{0,3}\Z")
_NUMBER: Final = re.compile(r"\d+")
_DECLINES: Final = re.compile(
    r"(?:\b(?:no|not|cannot)\b|n't).{0,60}\b(?:documents?|passages?|information|context|texts?)\b"
    r"|\b(?:documents?|passages?|context|texts?)\b.{0,40}(?:\bnot\b|n't)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Citation:
    """A verified citation: ``passage.text[quote_start:quote_end] == quote``.

    Attributes:
        number: The passage's number, as in the marker ``[number]``.
        document_id: The passage's document.
        filename: That document's name.
        quote: The supporting words.
        quote_start: Offset of the quote in the passage's text.
        quote_end: Offset after it.
        document_start: Offset of the quote in the document's extracted text.
        document_end: Offset after it.
        answer_start: Offset, in the text that was released, of the sentence it supports.
        answer_end: Offset after that sentence, where the marker stands.
    """

    number: int
    document_id: UUID
    filename: str
    quote: str
    quote_start: int
    quote_end: int
    document_start: int
    document_end: int
    answer_start: int
    answer_end: int


@dataclass(frozen=True, slots=True)
class Annotated:
    """What may be sent now: the text first, then the citations, which point into text that is sent.

    Attributes:
        text: The next piece of the answer; may be empty.
        citations: Those of the sentences that this text completes.
    """

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """How much of an answer the documents support.

    Attributes:
        claims: Its sentences that claim something: not leads, questions or refusals.
        supported: Those with a citation.
    """

    claims: int
    supported: int

    @property
    def complete(self) -> bool:
        """Whether every claim has a citation."""
        return self.supported == self.claims


class _Segment(NamedTuple):
    """A part of the buffer that is settled: ``end`` is where its text ends, ``resume`` where its markers do."""

    end: int
    resume: int


class CitationAnnotator:
    """Annotates one answer. What it sends does not depend on how the answer is cut into deltas.

    A few characters (space and an opening bracket at the end) wait until it is clear that they are not part of
    a marker. With no passages the text passes through unchanged.

    Args:
        question: What was asked; tells a short answer's number from the same number elsewhere.
        passages: What the model saw, best first.
    """

    def __init__(self, question: str, passages: Sequence[Passage]) -> None:
        self._index = SupportIndex(question, passages) if passages else None
        self._buffer = ""
        self._start = 0
        self._sent = 0
        self._length = 0
        self._claims = 0
        self._supported = 0

    @property
    def support(self) -> Support:
        """How much of the answer so far is supported."""
        return Support(self._claims, self._supported)

    def feed(self, delta: str) -> Annotated:
        """Takes the next piece of the answer."""
        return self._advance(delta, final=False)

    def finish(self) -> Annotated:
        """Takes the answer's end."""
        return self._advance("", final=True)

    def _advance(self, delta: str, *, final: bool) -> Annotated:
        if self._index is None:
            return Annotated(delta, ())
        self._buffer += delta
        texts: list[str] = []
        citations: list[Citation] = []
        while (segment := self._next_segment(final=final)) is not None:
            self._close(self._index, segment, texts, citations)
        texts.append(self._release(self._settled_end()))
        self._buffer = self._buffer[self._start :]
        self._sent -= self._start
        self._start = 0
        return Annotated("".join(texts), tuple(citations))

    def _next_segment(self, *, final: bool) -> _Segment | None:
        """The next sentence, line, or part of a sentence that ends in a marker; None until it is settled."""
        buffer, start = self._buffer, self._start
        window = min(len(buffer), start + MAX_SENTENCE)
        newline = buffer.find("\n", start, window)
        limit = window if newline == -1 else newline
        markers = _MARKERS.search(buffer, start, limit)
        if markers is not None:
            limit = markers.start()
        sentence = settled_sentence_end(buffer, start, limit)
        if sentence is not None:
            partial = _PARTIAL_MARKER.search(buffer, max(start, sentence - 4), sentence)
            end = sentence if partial is None else partial.start()
            return _Segment(end, end)
        if markers is not None:
            ended = final or window - start == MAX_SENTENCE
            if not ended and _MAY_CONTINUE.fullmatch(buffer, markers.end(), window):
                return None
            return _Segment(markers.start(), markers.end())
        if newline >= 0:
            return _Segment(newline + 1, newline + 1)
        return _Segment(len(buffer), len(buffer)) if final and start < len(buffer) else None

    def _close(
        self,
        index: SupportIndex,
        segment: _Segment,
        texts: list[str],
        citations: list[Citation],
    ) -> None:
        """Releases a segment, and in place of its markers a verified one if there is support."""
        claim = self._buffer[self._start : segment.end]
        body = claim.rstrip()
        texts.append(self._release(self._start + len(body)))
        hints = frozenset(map(int, _NUMBER.findall(self._buffer, segment.end, segment.resume)))
        citation = self._cite(index, body, hints)
        if citation is not None:
            citations.append(citation)
            texts.append(self._insert(f" [{citation.number}]"))
        elif hints and _PARTIAL_MARKER.search(body):
            texts.append(self._insert(" "))  # else "[[1]2]" would leave "[2]" behind
        texts.append(self._release(segment.end))
        self._start = self._sent = segment.resume

    def _cite(self, index: SupportIndex, body: str, hints: frozenset[int]) -> Citation | None:
        if not _claims_something(body):
            return None
        quote = index.find(body, hints)
        if quote is None:
            self._claims += len(content_terms(body)) > 1
            return None
        self._claims += 1
        self._supported += 1
        if quote.passage.number == UNCITED:
            return None
        return _citation(quote, self._length - len(body.lstrip()), self._length)

    def _settled_end(self) -> int:
        """Up to where the buffer may be sent: a marker, or space before one, may be arriving, or a cut be made."""
        buffer = self._buffer
        markers = _MARKERS.search(buffer, self._start)
        if markers is not None:
            return max(self._sent, markers.start())
        partial = _PARTIAL_MARKER.search(buffer, max(self._sent, len(buffer) - 4))
        end = len(buffer) if partial is None else partial.start()
        cut = unsettled_cut(buffer, self._start)
        if cut is not None:
            end = max(self._sent, min(end, cut))
        while end > self._sent and buffer[end - 1].isspace():
            end -= 1
        return end

    def _release(self, end: int) -> str:
        text = self._buffer[self._sent : end]
        self._sent = max(self._sent, end)
        self._length += len(text)
        return text

    def _insert(self, text: str) -> str:
        self._length += len(text)
        return text


def holds(citation: Citation, passage: Passage) -> bool:
    """Whether a citation's quote stands in a passage exactly where it says."""
    return (
        citation.quote != ""
        and citation.document_id == passage.document_id
        and passage.text[citation.quote_start : citation.quote_end] == citation.quote
        and citation.document_start == passage.start + citation.quote_start
        and citation.document_end == passage.start + citation.quote_end
    )


def _citation(quote: Quote, answer_start: int, answer_end: int) -> Citation:
    passage, start, end = quote
    return Citation(
        number=passage.number,
        document_id=passage.document_id,
        filename=passage.filename,
        quote=passage.text[start:end],
        quote_start=start,
        quote_end=end,
        document_start=passage.start + start,
        document_end=passage.start + end,
        answer_start=answer_start,
        answer_end=answer_end,
    )


def _claims_something(body: str) -> bool:
    """Whether a sentence can be true or false: not a lead, a question or a refusal."""
    if body.endswith((":", "?")) or body.strip() == REFUSAL or _DECLINES.search(body):
        return False
    return bool(content_terms(body))
