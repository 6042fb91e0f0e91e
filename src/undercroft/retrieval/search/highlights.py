"""Where in a passage the words stand that were asked for, as offsets of characters."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from undercroft.retrieval.segmentation import UNSPACED, segment

Span: TypeAlias = tuple[int, int]
"""Offsets of a first character, and after a last one."""

BEGINNING: Final = "\x01"
END: Final = "\x02"
"""How the database marks words."""
_MARK: Final = re.compile(f"[{BEGINNING}{END}]")
_MOST: Final = 50
"""Highlights of a passage."""
_UNMARKABLE: Final = str.maketrans({BEGINNING: " ", END: " ", "\x00": " ", "<": " "})
"""What a text must not have for its offsets to be those of what comes back: a tag comes back as one space."""


def markable(text: str) -> str:
    """The text as it is given to be marked: as long, without what would be taken for a mark or left out."""
    return text.translate(_UNMARKABLE)


def read_marks(text: str, marked: str) -> list[Span]:
    """Where the database has marked words in a text; nowhere if what it gives back is not that text."""
    spans: list[Span] = []
    length = 0
    for place, piece in enumerate(_MARK.split(marked)):
        if place % 2:
            spans.append((length, length + len(piece)))
        length += len(piece)
    return spans if length == len(text) else []


def find_beginnings(text: str, prefix: str) -> list[Span]:
    """The words of a text that begin so."""
    words = re.finditer(rf"(?<!\w){re.escape(prefix)}\w*", text, re.IGNORECASE)
    return [word.span() for word in words]


def find_unspaced(text: str, query: str) -> list[Span]:
    """Where pairs of characters of a query stand in a text, in scripts that set no spaces between words."""
    pairs = {pair for run in UNSPACED.finditer(query) for pair in segment(run.group()).split()}
    spans: list[Span] = []
    for run in UNSPACED.finditer(text) if pairs else ():
        at = run.start()
        spans += [
            (at + place, at + place + len(pair))
            for place in range(len(run.group()))
            for pair in (run.group()[place : place + 2],)
            if pair in pairs
        ]
    return spans


def join_spans(text: str, spans: Iterable[Span]) -> Sequence[Span]:
    """Highlights: in order, those that touch or have a space between them as one, no character cut from its accents."""
    joined: list[Span] = []
    for start, end in sorted(_whole(text, span) for span in spans):
        if joined and (start <= joined[-1][1] or text[joined[-1][1] : start] == " "):
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined[:_MOST]


def _whole(text: str, span: Span) -> Span:
    start, end = span
    while start and unicodedata.combining(text[start]):
        start -= 1
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return start, end
