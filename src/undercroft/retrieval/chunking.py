"""Cuts a document into the chunks that are embedded, searched and cited.

A chunk is a span of the extracted text. It lies in one section and, where there are pages, on one page, so that
whoever was shared either finds all of it. Within these, spans follow paragraphs, sentences, lines and words; they never
overlap, and together they hold everything but white space. The text is tokenised once to place the cuts, and each chunk
once more to count it exactly: the time is linear in the length, whatever the text looks like.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, zip_longest
from typing import Final

from tokenizers import Tokenizer

from undercroft.retrieval.parsing.models import ExtractedDocument, Heading

MIN_TOKENS: Final = 16
CHARACTERS_PER_TOKEN: Final = 8
"""Twice what prose has. A tokenizer may count a long run of letters, or of spaces, as one token or none."""

_PIECE_CHARACTERS: Final = 8192
_PIECES_PER_BATCH: Final = 64
_GRAPHEME_REACH: Final = 32
_NON_SPACE: Final = re.compile(r"\S")
_WORD: Final = re.compile(r"\w")
_BREAKS: Final = (
    re.compile(r"\n[ \t]*\n\s*"),  # paragraphs
    re.compile(  # sentences, in Western and in East Asian punctuation, and items of lists
        r"[.!?\u2026][\"'\u201d\u2019\xbb)\]]*\s+"
        r"|[\u3002\uff01\uff1f][\u300d\u300f\u201d\uff09]*\s*"
        r"|\n(?=[ \t]*(?:[-*\u2022]|\d{1,3}[.)])[ \t])"
    ),
    re.compile(r"\n\s*"),  # lines
    re.compile(r"\s+|[\u3001\uff0c\uff1b\uff1a]\s*"),  # words, and clauses where none are spaced
)
"""Where to cut, best first."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document: ``document.text[start:end]``.

    Attributes:
        ordinal: Its number in the document, from 0.
        start: The offset of its first character, which is not white space.
        end: The offset after its last character, which is not white space.
        page: The page on which it stands, or None where there are no pages.
        headings: The titles above it, outermost first.
        token_count: Its length in the tokenizer's tokens, without special tokens.
        heading_starts: Where the lines of these begin, in characters from its start: before it for titles that stand
            before it.
    """

    ordinal: int
    start: int
    end: int
    page: int | None
    headings: tuple[str, ...]
    token_count: int
    heading_starts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Section:
    """A span that starts at a heading (or at the beginning) and ends before the next; ``path`` is above its text."""

    start: int
    end: int
    path: tuple[Heading, ...]


def chunk_document(
    document: ExtractedDocument, tokenizer: Tokenizer, max_tokens: int = 254
) -> list[Chunk]:
    """The chunks of a document, in order.

    What of a section stands on one page and fits is one chunk; what is longer is cut into parts of about the same
    length.

    Args:
        document: What a parser extracted.
        tokenizer: The embedder's; its truncation and padding are left aside.
        max_tokens: The most tokens a chunk may have, at least :data:`MIN_TOKENS`. Special tokens are not counted, nor
            what the indexer puts before a chunk: leave room for both.

    Raises:
        ValueError: ``max_tokens`` is too small.
    """
    if max_tokens < MIN_TOKENS:
        raise ValueError(f"max_tokens must be at least {MIN_TOKENS}, not {max_tokens}")
    tokenizer = _without_truncation(tokenizer)
    sections = _find_sections(document)
    splitter = _Splitter(document.text, _token_starts(document.text, tokenizer), max_tokens)
    spans = [
        span
        for start, end in pairwise(_bounds(document, sections))
        for span in splitter.split(start, end)
    ]
    counted = _count_exactly(document.text, spans, tokenizer, max_tokens)
    return _describe(document, sections, counted)


def _without_truncation(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer that counts all of a text; a copy where that means another setting than its owner's."""
    # Both are dictionaries, of untyped contents.
    if tokenizer.truncation is None and tokenizer.padding is None:  # pyright: ignore[reportUnknownMemberType]
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _find_sections(document: ExtractedDocument) -> list[_Section]:
    """Sections that cover the text.

    A heading without a text of its own begins the section below it, if there is one, where it shows to whoever has a
    part that is above both; else it is a section of one line.
    """
    text, headings = document.text, document.headings
    starts = [heading.start for heading in headings] + [len(text)]
    sections: list[_Section] = []
    path: list[Heading] = []
    start = 0
    if _NON_SPACE.search(text, 0, starts[0]):
        start = starts[0]
        sections.append(_Section(0, start, ()))
    for heading, following in zip_longest(headings, headings[1:]):
        path = [above for above in path if above.level < heading.level] + [heading]
        end = len(text) if following is None else following.start
        is_above = following is not None and following.level > heading.level
        if not is_above or _has_body(text, heading.start, end):
            sections.append(_Section(start, end, tuple(path)))
            start = end
    return sections


def _bounds(document: ExtractedDocument, sections: Sequence[_Section]) -> list[int]:
    """Where a section or a page begins, ascending, and the text's end: no chunk goes on beyond one."""
    starts = {part.start for parts in (sections, document.pages) for part in parts}
    return sorted(starts | {len(document.text)})


def _has_body(text: str, heading_start: int, end: int) -> bool:
    line_end = text.find("\n", heading_start, end)
    return line_end >= 0 and _WORD.search(text, line_end, end) is not None


def _token_starts(text: str, tokenizer: Tokenizer) -> "array[int]":
    """The offset at which each token of the text begins, ascending."""
    starts = array("L")
    pieces = _pieces(text)
    while batch := list(islice(pieces, _PIECES_PER_BATCH)):
        encodings = tokenizer.encode_batch(
            [text[start:end] for start, end in batch], add_special_tokens=False
        )
        for (offset, _), encoding in zip(batch, encodings, strict=True):
            starts.extend(offset + start for start, _ in encoding.offsets)
    return starts


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Spans of bounded length that cover the text, cut at white space where there is any."""
    start = 0
    while start < len(text):
        end = min(start + _PIECE_CHARACTERS, len(text))
        if end < len(text):
            space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = space if space > 0 else end
        yield start, end
        start = end


class _Splitter:
    """Places the cuts, by token offsets that were computed once for the whole text."""

    def __init__(self, text: str, token_starts: "array[int]", max_tokens: int) -> None:
        self._text = text
        self._token_starts = token_starts
        self._max_tokens = max_tokens
        self._max_characters = max_tokens * CHARACTERS_PER_TOKEN

    def count(self, start: int, end: int) -> int:
        """How many tokens begin in a span."""
        return bisect_left(self._token_starts, end) - bisect_left(self._token_starts, start)

    def split(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Spans without white space at their ends that hold all else of a span, each within the limit."""
        while (first := _NON_SPACE.search(self._text, start, end)) is not None:
            start = first.start()
            cut = self._cut(start, end)
            yield start, start + len(self._text[start:cut].rstrip())
            start = cut

    def _cut(self, start: int, end: int) -> int:
        """Where the chunk that begins at ``start`` ends: at the best break near an even share of what remains."""
        tokens = self.count(start, end)
        parts = max(-(-tokens // self._max_tokens), -(-(end - start) // self._max_characters))
        if parts <= 1:
            return end
        share = tokens // parts
        high = min(self._advance(start, self._max_tokens), start + self._max_characters, end)
        target = min(self._advance(start, share), start + (end - start) // parts * 2, high)
        low = min(self._advance(start, share // 2), target - 1)
        return self._best_break(max(low, start), target, high) or self._break_between_letters(
            start, high
        )

    def _advance(self, start: int, tokens: int) -> int:
        """The offset at which the token that lies ``tokens`` behind ``start`` begins."""
        index = bisect_left(self._token_starts, start) + tokens
        return self._token_starts[index] if index < len(self._token_starts) else len(self._text)

    def _best_break(self, low: int, target: int, high: int) -> int | None:
        """The break of the highest rank in ``(low, high]``, of several the one nearest to the target."""
        for pattern in _BREAKS:
            ends = (match.end() for match in pattern.finditer(self._text, low, high))
            if candidates := [end for end in ends if low < end <= high]:
                return min(candidates, key=lambda at: abs(at - target))
        return None

    def _break_between_letters(self, start: int, high: int) -> int:
        """A cut in text without spaces, not between a letter and the marks that belong to it."""
        high = max(high, start + 1)
        for cut in range(high, max(start, high - _GRAPHEME_REACH), -1):
            if not _continues_grapheme(self._text, cut):
                return cut
        return high


def _continues_grapheme(text: str, at: int) -> bool:
    """Whether the character at an offset belongs to the one before: a mark, or a part of an emoji."""
    if at >= len(text):
        return False
    character = text[at]
    is_joined = character == "\u200d" or text[at - 1] == "\u200d"
    is_skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return is_joined or is_skin_tone or unicodedata.category(character) in {"Mn", "Mc", "Me"}


def _count_exactly(
    text: str, spans: Sequence[tuple[int, int]], tokenizer: Tokenizer, max_tokens: int
) -> list[tuple[int, int, int]]:
    """Each span with its token count. One that became too long by being cut out is halved until it fits."""
    counted: list[tuple[int, int, int]] = []
    for at in range(0, len(spans), _PIECES_PER_BATCH):
        batch = spans[at : at + _PIECES_PER_BATCH]
        encodings = tokenizer.encode_batch_fast(
            [text[start:end] for start, end in batch], add_special_tokens=False
        )
        for (start, end), encoding in zip(batch, encodings, strict=True):
            if len(encoding) <= max_tokens or end - start == 1:
                counted.append((start, end, len(encoding)))
            else:
                halves = _halve(text, start, end)
                counted.extend(_count_exactly(text, halves, tokenizer, max_tokens))
    return counted


def _halve(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Two spans, cut at the white space nearest to the middle of the first half, or else in the middle."""
    middle = (start + end) // 2
    space = max(text.rfind(" ", start, middle), text.rfind("\n", start, middle))
    middle = space if space > start else middle
    return [
        (low + len(part) - len(part.lstrip()), low + len(part.rstrip()))
        for low, high in ((start, middle), (middle, end))
        if (part := text[low:high]).strip()
    ]


def _describe(
    document: ExtractedDocument,
    sections: Sequence[_Section],
    counted: Sequence[tuple[int, int, int]],
) -> list[Chunk]:
    section_starts = [section.start for section in sections]
    page_starts = [page.start for page in document.pages]

    def page_at(offset: int) -> int | None:
        index = bisect_right(page_starts, offset) - 1
        return document.pages[index].number if index >= 0 else None

    def describe(ordinal: int, start: int, end: int, tokens: int) -> Chunk:
        path = sections[bisect_right(section_starts, start) - 1].path
        return Chunk(
            ordinal=ordinal,
            start=start,
            end=end,
            page=page_at(start),
            headings=tuple(heading.title for heading in path),
            token_count=tokens,
            heading_starts=tuple(heading.start - start for heading in path),
        )

    return [describe(ordinal, *span) for ordinal, span in enumerate(counted)]
