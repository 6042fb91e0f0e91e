"""Passages that were indexed when short sections were joined: they are read in pieces of one section each."""

from undercroft.retrieval.passages import PassageText
from undercroft.retrieval.texts.pieces import cut_passage

TEXT = "## Rent\n\nNine pounds.\n\n## Pets\n\nNone."
PETS = TEXT.index("## Pets")


def test_a_passage_of_several_sections_is_read_in_pieces() -> None:
    later = ((PETS, ("House", "Pets")),)
    passage = PassageText(TEXT, ("House", "Rent"), later, ((-9, 0), (-9, PETS)))
    pieces = list(cut_passage(passage, 100, 1, 2))
    assert [(piece.start, piece.end, piece.text) for piece in pieces] == [
        (100, 100 + len("## Rent\n\nNine pounds."), "## Rent\n\nNine pounds."),
        (100 + PETS, 100 + len(TEXT), "## Pets\n\nNone."),
    ]
    assert [(piece.headings, piece.heading_starts) for piece in pieces] == [
        (("House", "Rent"), (91, 100)),
        (("House", "Pets"), (91, 100 + PETS)),
    ]
    assert {(piece.page_start, piece.page_end) for piece in pieces} == {(1, 2)}
