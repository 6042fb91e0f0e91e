"""What of a text's beginning shows under grants of sections, by where its titles stand."""

from uuid import UUID

import pytest

from undercroft.kit.crypto.sealed_json import seal_json
from undercroft.retrieval.passages import PassagePlace, open_passage, seal_passage
from undercroft.retrieval.titles import hidden_beginning
from undercroft.sharing.models import GrantLimits, PageRange, Parts, Way

TEXT = "# House\n\n## Rent\n\nNine pounds."
HEADINGS = ("House", "Rent")
RENT = TEXT.index("## Rent")
PLACE = PassagePlace(UUID(int=1), UUID(int=2), 0)
KEY = bytes(32)


def under(*sections: str) -> Way:
    return Way((GrantLimits(UUID(int=1), parts=Parts(sections=sections)),))


@pytest.mark.parametrize(
    ("section", "starts", "shown"),
    [
        ("Rent", (0, RENT), TEXT[RENT:]),
        ("House", (0, RENT), TEXT),
        ("Rent", (-90, -80), TEXT),
        ("Rent", (0, len(TEXT) + 2), ""),
        ("Rent", (), ""),
        ("House", (), TEXT),
        ("House", (RENT, RENT + 3), TEXT[RENT:]),
    ],
    ids=[
        "in it",
        "the outermost",
        "before it",
        "behind it",
        "not known",
        "needs not be known",
        "the outermost behind another that has no text",
    ],
)
def test_what_stands_before_the_line_of_the_shared_title_is_hidden(
    section: str, starts: tuple[int, ...], shown: str
) -> None:
    assert TEXT[hidden_beginning(under(section), TEXT, HEADINGS, starts) :] == shown


def test_a_passage_of_before_titles_had_places_opens_without_them() -> None:
    sealed = seal_json(KEY, [TEXT, HEADINGS, [[RENT, HEADINGS]]], PLACE.context)
    passage = open_passage(KEY, PLACE, sealed)
    assert (passage.headings, passage.later_headings) == (HEADINGS, ((RENT, HEADINGS),))
    assert passage.heading_starts == ()
    assert open_passage(KEY, PLACE, seal_passage(KEY, PLACE, passage)) == passage


def test_what_is_shared_by_its_pages_shows_from_its_beginning() -> None:
    pages = Way((GrantLimits(UUID(int=1), parts=Parts((PageRange(1, 1),))),))
    for way in (pages, Way(())):
        assert hidden_beginning(way, TEXT, HEADINGS, (RENT, RENT + 3)) == 0
