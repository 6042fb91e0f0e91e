"""Which of the titles above a passage show to whoever sees it under grants of parts."""

import re
from collections.abc import Sequence
from typing import Final

from undercroft.sharing.models import Parts, Way

_WORD: Final = re.compile(r"\w+")


def shown_titles(way: Way, headings: Sequence[str]) -> tuple[str, ...]:
    """Those from a shared one on, as the others stand in parts that are not shared.

    None when it is shared by its pages, for where the titles stand is not known.
    """
    return tuple(headings[max(_depths(way, headings), default=0) :])


def hidden_beginning(way: Way, text: str, headings: Sequence[str]) -> int:
    """How many characters of a text's beginning do not show: the lines of titles above what is shared.

    Headings without text begin the section below them.
    """
    shared = max((each for each in _depths(way, headings) if each < len(headings)), default=0)
    hidden = _length_of_titles(text, headings[:shared])
    return len(text) - len(text[hidden:].lstrip()) if hidden else 0


def _depths(way: Way, headings: Sequence[str]) -> list[int]:
    return [_depth(grant.parts, headings) for grant in way.grants if grant.parts is not None]


def _depth(parts: Parts, headings: Sequence[str]) -> int:
    """How many titles are above the first one that is shared; all of them when none is."""
    shared = (at for at, heading in enumerate(headings) if heading in parts.sections)
    return next(shared, len(headings))


def _length_of_titles(text: str, titles: Sequence[str]) -> int:
    hidden, above = 0, [_WORD.findall(title) for title in titles]
    for line in text.splitlines(keepends=True):
        words = _WORD.findall(line)
        if words and words not in above:
            break
        hidden += len(line)
    return hidden
