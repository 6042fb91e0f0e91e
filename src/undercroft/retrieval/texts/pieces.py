"""How chunks are cut into pieces of one section each, and what of a piece shows under a grant of parts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from undercroft.retrieval.passages import PassageText
from undercroft.retrieval.texts.models import TextPiece
from undercroft.sharing.models import Parts, Way
from undercroft.sharing.policy import Place, choose_way, ways_to_place

_WORD: Final = re.compile(r"\w+")


def cut_passage(
    passage: PassageText, start: int, page_start: int | None, page_end: int | None
) -> Iterator[TextPiece]:
    """The pieces of a chunk, one for each section in it.

    On which pages a piece of a chunk stands that runs over several is not known: it may be on each of them.
    """
    sections = [(0, passage.headings), *passage.later_headings]
    ends = [at for at, _ in passage.later_headings] + [len(passage.text)]
    for (begin, headings), end in zip(sections, ends, strict=True):
        piece = TextPiece(start + begin, start + end, page_start, page_end, headings, "")
        text = passage.text[begin:end]
        if text.strip():
            yield _with_text(piece, text)


def show_piece(piece: TextPiece, ways: Sequence[Way]) -> TextPiece | None:
    """What of a piece the ways let a caller see, under the one that is taken; None when they show nothing of it.

    Of the titles above it those from a shared one on, as the others stand in parts that are not shared; none when it is
    shared by its pages, for where the titles stand is not known.
    """
    place = Place(piece.page_start, piece.page_end, piece.headings)
    possible = ways_to_place(ways, place)
    if not possible:
        return None
    way = choose_way(possible)
    depths = [
        _depth(grant.parts, piece.headings) for grant in way.grants if grant.parts is not None
    ]
    depth = max(depths, default=0)
    shared = max((each for each in depths if each < len(piece.headings)), default=0)
    shown = replace(piece, headings=piece.headings[depth:], way=way)
    hidden = _length_of_titles(piece.text, piece.headings[:shared])
    rest = _with_text(replace(shown, start=piece.start + hidden), piece.text[hidden:])
    return rest if rest.text else None


def _depth(parts: Parts, headings: Sequence[str]) -> int:
    """How many titles are above the first one that is shared; all of them when none is."""
    shared = (at for at, heading in enumerate(headings) if heading in parts.sections)
    return next(shared, len(headings))


def _length_of_titles(text: str, titles: Sequence[str]) -> int:
    """How much of a text's beginning is lines of these titles: headings without text begin the section below them."""
    hidden, above = 0, [_WORD.findall(title) for title in titles]
    for line in text.splitlines(keepends=True):
        words = _WORD.findall(line)
        if words and words not in above:
            break
        hidden += len(line)
    return hidden


def _with_text(piece: TextPiece, text: str) -> TextPiece:
    """A piece with a text that begins at its start, without white space around it."""
    start = piece.start + len(text) - len(text.lstrip())
    text = text.strip()
    return replace(piece, start=start, end=start + len(text), text=text)
