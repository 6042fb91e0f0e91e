"""How chunks are cut into pieces of one section each, and what of a piece shows under a grant of parts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from undercroft.retrieval.passages import PassageText
from undercroft.retrieval.texts.models import TextPiece
from undercroft.retrieval.titles import hidden_beginning, shown_titles
from undercroft.sharing.models import Way
from undercroft.sharing.policy import Place, choose_way, ways_to_place


def cut_passage(
    passage: PassageText, start: int, page_start: int | None, page_end: int | None
) -> Iterator[TextPiece]:
    """The pieces of a chunk, one for each section in it.

    On which pages a piece of a chunk stands that runs over several is not known: it may be on each of them.
    """
    sections = [(0, passage.headings), *passage.later_headings]
    ends = [at for at, _ in passage.later_headings] + [len(passage.text)]
    starts = passage.heading_starts or ((),) * len(sections)
    for (begin, headings), end, above in zip(sections, ends, starts, strict=True):
        piece = TextPiece(
            start + begin,
            start + end,
            page_start,
            page_end,
            headings,
            "",
            heading_starts=tuple(start + at for at in above),
        )
        text = passage.text[begin:end]
        if text.strip():
            yield _with_text(piece, text)


def show_piece(piece: TextPiece, ways: Sequence[Way]) -> TextPiece | None:
    """What of a piece the ways let a caller see, under the one that is taken; None when they show nothing of it."""
    place = Place(piece.page_start, piece.page_end, piece.headings)
    possible = ways_to_place(ways, place)
    if not possible:
        return None
    way = choose_way(possible)
    shown = replace(piece, headings=shown_titles(way, piece.headings), way=way, heading_starts=())
    starts = [at - piece.start for at in piece.heading_starts]
    hidden = hidden_beginning(way, piece.text, piece.headings, starts)
    rest = _with_text(replace(shown, start=piece.start + hidden), piece.text[hidden:])
    return rest if rest.text else None


def _with_text(piece: TextPiece, text: str) -> TextPiece:
    """A piece with a text that begins at its start, without white space around it."""
    start = piece.start + len(text) - len(text.lstrip())
    text = text.strip()
    return replace(piece, start=start, end=start + len(text), text=text)
