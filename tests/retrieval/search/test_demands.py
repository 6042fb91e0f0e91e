"""What a query demands of passages holds for whatever leg proposes them."""

from collections.abc import Mapping
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.retrieval.search.models import Leg, SearchQuery

LEGS = [frozenset(Leg), frozenset({Leg.LEXICAL}), frozenset({Leg.VECTOR})]
PAPERS: Mapping[str, str] = {
    "solar.txt": "The solar panel on the roof of the mill was paid for by invoice INV-2024/0031 in May.",
    "order.txt": "The panel of judges praised the solar calendar. The invoice is INV-2024/0032 and was paid.",
    "draft.txt": "The first draft of the contract for the mill, which mentions a solar panel for the roof.",
    "power.txt": "Electricity is dear: electric motors drive the mill, and microphones hang in the hall.",
    "votes.txt": "The election of the miller was held in the hall; the electorate is few. Ask ann.lee@example.org.",
    "code.txt": "Call foo_bar.baz(1) before foo.bar_baz(2), says the manual of part 4711-08/15 in the mill.",
    "german.txt": "Die große Koalition der Müller hat im Herbst 1966 beschlossen, die Mühlen zu erneuern.",
    "japanese.txt": "太陽光発電の設備は屋根の上にあります。発電所の電気は水車小屋で使われています。",
}


@pytest.fixture
async def filled(shelf: Shelf, make_scope: MakeScope) -> tuple[Member, UUID]:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, PAPERS)
    return ann, collection


async def find(
    shelf: Shelf,
    filled: tuple[Member, UUID],
    text: str,
    legs: frozenset[Leg] = frozenset(Leg),
    limit: int = 8,
) -> list[str]:
    scope, collection = filled
    query = SearchQuery((collection,), text, limit, legs, is_typed=True)
    return [passage.filename for passage in (await shelf.search.search(scope, query)).passages]


HELD = [
    ('"solar panel"', {"solar.txt", "draft.txt"}),
    ('"solar panels" "first drafts"', {"draft.txt"}),
    ("„großen Koalitionen“", {"german.txt"}),
    ("「太陽光」", {"japanese.txt"}),
    ('"太陽光発電"', {"japanese.txt"}),
    ("electri*", {"power.txt"}),
    ("elect*", {"power.txt", "votes.txt"}),
    ("micro* mill", {"power.txt"}),
    ("foo_b*", {"code.txt"}),
]


async def test_passages_have_the_phrases_and_the_beginnings_that_are_asked_for(
    shelf: Shelf, filled: tuple[Member, UUID]
) -> None:
    for text, expected in HELD:
        for legs in LEGS:
            assert set(await find(shelf, filled, text, legs)) == expected


EXCLUDED = [
    ("solar panel mill -draft", {"draft.txt"}),
    ("solar panel mill -drafts", {"draft.txt"}),
    ('solar panel mill -"solar panel"', {"solar.txt", "draft.txt"}),
    ("mill invoice -INV-2024/0031", {"solar.txt"}),
    ("mill -elect*", {"power.txt", "votes.txt"}),
    ("mill roof -発電", {"japanese.txt"}),
]


async def test_what_is_excluded_comes_back_by_no_leg(
    shelf: Shelf, filled: tuple[Member, UUID]
) -> None:
    for text, excluded in EXCLUDED:
        for legs in LEGS:
            found = set(await find(shelf, filled, text, legs))
            assert not found & excluded
            if Leg.VECTOR in legs:
                assert found == set(PAPERS) - excluded


FIRST = [
    ("Which invoice is INV-2024/0031?", "solar.txt"),
    ("Which invoice is INV-2024/0032?", "order.txt"),
    ("election of ann.lee@example.org", "votes.txt"),
    ("solar panel invoice foo_bar.baz()", "code.txt"),
    ("solar panel invoice 4711-08/15", "code.txt"),
]


async def test_passages_with_an_identifier_whole_come_first(
    shelf: Shelf, filled: tuple[Member, UUID]
) -> None:
    for text, first in FIRST:
        for legs in LEGS:
            assert (await find(shelf, filled, text, legs))[0] == first


async def test_exclusions_leave_no_answer_short(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.service._MOST_CANDIDATES", 6)
    ann = await make_scope()
    noise = {f"noise{n}.txt": f"The town clock of village {n} was repaired." for n in range(8)}
    wanted = {f"kept{n}.txt": f"Barges carry grain {n}." for n in range(3)}
    filled = (ann, (await shelf.fill(ann, noise | wanted))[0])
    found = await find(shelf, filled, "town clock repaired -village", frozenset({Leg.VECTOR}), 3)
    assert set(found) == set(wanted)
