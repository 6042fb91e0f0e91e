# ruff: noqa: SIM905, RUF001 -- word lists read best as prose, and dashes, quotes and full-width stops are meant
"""Sentences of messy extracted text, with exact offsets. Pure.

Text that a parser extracted has prose wrapped at the page's width, table rows rendered as ``a | b``, list items and
``Key: value`` lines. A line break therefore sometimes ends a sentence and sometimes means nothing; a full stop ends
one, unless it belongs to a number, an abbreviation or an initial. Every span is exact: ``text[start:end]`` is the
sentence. No sentence is longer than ``MAX_SENTENCE``, so that text without any punctuation costs no more than prose.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

MAX_SENTENCE: Final = 600
"""Characters of the longest sentence; a longer one is cut at a space."""
_LOOKED_BACK: Final = 100
"""How far before that the space may stand: what is behind a space waits there until it is known where the cut is."""

_NUMBERED_ABBREVIATIONS: Final = frozenset(
    "no nos nr p pp fig figs eq sec sect art vol ch cl para paras ref tab app".split()
)
_ABBREVIATIONS: Final = frozenset(
    "mr mrs ms dr v al prof rev hon st mt capt lt col gen sgt messrs e.g i.e eg ie cf vs viz approx ca".split()
)
_LINE: Final = re.compile(r"[^\r\n\f\v\x85\u2028\u2029]+")
_LIST_ITEM: Final = re.compile(r"\s*(?:[-*•‣▪◦–—]|\(?(?:\d{1,3}|[^\W\d_])[.)])\s+\S")
_KEY_VALUE: Final = re.compile(r"\s*(?:\[\d+\]|[^\W\d_])[\w \[\]()/&'’.-]{0,60}:(?:\s+\S|\s*$)")
_ENDS_IN_SUM: Final = re.compile(r"(?:[£$€]\s?\d[\d.,]*|\d[.,]\d\d)\s*$")
_MONTH_INITIALS: Final = "JFMASOND"
_HEADING: Final = re.compile(r"\s{0,3}#{1,6}\s")
_DECORATION: Final = re.compile(r"(?:\s|[-*•‣▪◦–—]\s|#{1,6}\s)*")
_TERMINATOR: Final = re.compile(r"""(?:[.!?…]+|[。！？]+)["'”’)\]»』」）]*""")
_MARKERS: Final = re.compile(r"(?:\s*\[\d{1,3}\])*")
_PARTIAL_MARKER: Final = re.compile(r"\[\d{0,3}")
_SPACE: Final = re.compile(r"\s*")
_TITLE: Final = re.compile(r"(?:\d+(?:\.\d+)*[.)]?\s+)?[^\W\d_][^\d|\n]*[\w)”’\"]")
_LONGEST_TITLE: Final = 80
_FULL_LINE: Final = 0.75
_NARROWEST_COLUMN: Final = 40


class Span(NamedTuple):
    """Offsets of a piece of text: ``text[start:end]``."""

    start: int
    end: int


def sentence_spans(text: str) -> list[Span]:
    """The sentences of extracted text, in order, without the space, bullets and ``#`` around them.

    A table row is one sentence. Runs in time linear in the text.
    """
    spans: list[Span] = []
    for unit in _units(text):
        row = is_row(text[unit.start : unit.end])
        position = unit.start
        while position < unit.end:
            end = (
                _forced_end(text, position, unit.end)
                if row
                else sentence_end(text, position, unit.end)
            )
            trimmed = _trim(text, position, end)
            if trimmed.start < trimmed.end:
                spans.append(trimmed)
            position = end
    return spans


def is_row(line: str) -> bool:
    """Whether a line is a rendered table row."""
    return " | " in line or "\t" in line.strip()


def sentence_end(text: str, start: int, stop: int) -> int:
    """Where the sentence that begins at ``start`` ends, when the text is known to end at ``stop``.

    Citation markers such as ``[1]`` that follow a full stop belong to the sentence before them.
    """
    window = min(stop, start + MAX_SENTENCE)
    end = _punctuated_end(text, start, window, complete=True)
    return _forced_end(text, start, stop) if end is None else end


def settled_sentence_end(text: str, start: int, stop: int) -> int | None:
    """The same for text of which more may follow ``stop``: None until no continuation could change the answer.

    Whatever pieces the text arrives in, the sentences are those of the whole text.
    """
    window = min(stop, start + MAX_SENTENCE)
    complete = window - start == MAX_SENTENCE
    end = _punctuated_end(text, start, window, complete=complete)
    # Of exactly the longest sentence the whole text makes one: only what is longer is known to be cut, and where.
    is_longer = len(text) > start + MAX_SENTENCE
    return _forced_end(text, start, len(text)) if end is None and complete and is_longer else end


def unsettled_cut(text: str, start: int) -> int | None:
    """Where the sentence that begins at ``start`` may yet be cut for its length, in text of which more may follow."""
    limit = start + MAX_SENTENCE
    space = _last_space(text, limit - _LOOKED_BACK, limit)
    return None if space == -1 else space


def _punctuated_end(text: str, start: int, window: int, *, complete: bool) -> int | None:
    """The first end by punctuation before ``window``; None when there is none, or none that is settled."""
    for match in _TERMINATOR.finditer(text, start, window):
        end = _end_of(_MARKERS, text, match.end(), window)
        following = _end_of(_SPACE, text, end, window)
        if following == window:
            return end if complete else None
        if not complete and _PARTIAL_MARKER.fullmatch(text, following, window):
            return None
        if _ends_sentence(text, start, match, end, following):
            return end
    return None


def is_title(line: str) -> bool:
    """Whether a line looks like a heading: short, unpunctuated, and without figures but for its own number."""
    return len(line) <= _LONGEST_TITLE and _TITLE.fullmatch(line) is not None


def _ends_sentence(text: str, start: int, match: re.Match[str], end: int, following: int) -> bool:
    terminator = match.group()
    if terminator[0] in "。！？":
        return True
    leaders = terminator.startswith("....")  # between an item and its price
    if leaders or following == match.end() or text[following].islower():
        return False
    if terminator != "." or end > match.end():
        return True
    return not _is_abbreviation(text, start, match.start(), following)


def _is_abbreviation(text: str, start: int, stop: int, following: int) -> bool:
    """Whether the full stop at ``stop`` belongs to its word: a title, an initial, an ordinal, an item's number."""
    before = text[max(start, stop - 16) : stop].split()
    word = before[-1].lstrip("(\"'“‘[").casefold() if before else ""
    if word in _ABBREVIATIONS or (len(word) == 1 and text[stop - 1].isupper()):
        return True
    numbered = word in _NUMBERED_ABBREVIATIONS and text[following].isdigit()
    ordinal = word.isdigit() and len(word) <= 2 and text[following] in _MONTH_INITIALS
    if numbered or ordinal:
        return True
    return stop - start < 8 and _is_enumerator(text[start:stop])


def _is_enumerator(opening: str) -> bool:
    """Whether a sentence's opening is the number of a list item or clause: ``3``, ``b``, ``2.1``."""
    label = opening.strip().replace(".", "")
    return label.isdigit() or (len(label) == 1 and label.isalpha())


def _forced_end(text: str, start: int, stop: int) -> int:
    limit = start + MAX_SENTENCE
    if stop <= limit:
        return stop
    space = _last_space(text, limit - _LOOKED_BACK, limit)
    return limit if space == -1 else space


def _last_space(text: str, start: int, stop: int) -> int:
    """Where it stands; -1 where there is none."""
    return max(text.rfind(character, start, stop) for character in " \n\t")


def _end_of(pattern: re.Pattern[str], text: str, start: int, stop: int) -> int:
    match = pattern.match(text, start, stop)
    return start if match is None else match.end()


def _trim(text: str, start: int, end: int) -> Span:
    start = _end_of(_DECORATION, text, start, end)
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def _units(text: str) -> Iterator[Span]:
    """Runs of lines that are one paragraph, list item, table row, heading or ``Key: value``."""
    for block in _blocks(text):
        width = max(line.end - line.start for line in block)
        start = block[0].start
        for above, line in pairwise(block):
            if not _continues(text[above.start : above.end], text[line.start : line.end], width):
                yield Span(start, above.end)
                start = line.start
        yield Span(start, block[-1].end)


def _blocks(text: str) -> Iterator[list[Span]]:
    """Groups of lines between blank lines."""
    block: list[Span] = []
    for match in _LINE.finditer(text):
        blank_between = bool(block) and text.count("\n", block[-1].end, match.start()) > 1
        blank = match.group().isspace()
        if block and (blank or blank_between):
            yield block
            block = []
        if not blank:
            block.append(Span(*match.span()))
    if block:
        yield block


def _continues(above: str, line: str, width: int) -> bool:
    """Whether a line is the wrapped rest of the one above it; ``width`` is that of their block's longest line."""
    if is_row(above) or is_row(line) or _HEADING.match(above) or _HEADING.match(line):
        return False
    if _LIST_ITEM.match(line):
        return False
    lower = line.lstrip()[0].islower()
    if not lower and _ENDS_IN_SUM.search(above):
        return False
    if _KEY_VALUE.match(line) and (not lower or _KEY_VALUE.match(above)):
        return False
    if lower or above.rstrip().endswith((",", ";", "-", "–", "(", "&")):
        return True
    return width >= _NARROWEST_COLUMN and len(above.rstrip()) >= _FULL_LINE * width
