"""Which ways let a caller see a passage, by where it stands."""

from uuid import UUID

import pytest

from undercroft.kit.errors import InvalidRequestError
from undercroft.retrieval.passages import PassageText, place_of
from undercroft.sharing.models import (
    GrantAction,
    GrantLimits,
    PageRange,
    Parts,
    ResourceKind,
    Terms,
    Way,
)
from undercroft.sharing.policy import Place, check_terms, holds, ways_to_place

COSTS = Parts(sections=("Costs",))
PAGES = Parts((PageRange(2, 4), PageRange(7, 7)))
BOTH = Parts((PageRange(2, 4),), ("Costs",))


def limits(number: int, parts: Parts | None) -> GrantLimits:
    return GrantLimits(UUID(int=number), None, parts, None, is_counted=False)


@pytest.mark.parametrize(
    ("parts", "place", "is_held"),
    [
        (None, Place(None, None, ()), True),
        (COSTS, Place(1, 1, ("Clock", "Costs")), True),
        (COSTS, Place(1, 1, ("Costs", "Of 1987")), True),
        (COSTS, Place(1, 1, ("Clock",)), False),
        (COSTS, Place(1, 1, ("Costs of living",)), False),
        (COSTS, Place(None, None, ()), False),
        (PAGES, Place(2, 4, ()), True),
        (PAGES, Place(7, 7, ("Costs",)), True),
        (PAGES, Place(1, 2, ()), False),
        (PAGES, Place(4, 5, ()), False),
        (PAGES, Place(1, 9, ()), False),
        (PAGES, Place(4, 7, ()), False),
        (PAGES, Place(None, None, ("Clock",)), False),
        (PAGES, Place(3, None, ()), False),
        (PAGES, Place(None, 3, ()), False),
        (BOTH, Place(9, 9, ("Costs",)), True),
        (BOTH, Place(3, 3, ("Clock",)), True),
        (BOTH, Place(5, 5, ("Clock",)), False),
        (Parts(), Place(1, 1, ("Clock",)), False),
    ],
)
def test_a_part_holds_what_lies_wholly_in_it(
    parts: Parts | None, place: Place, *, is_held: bool
) -> None:
    assert holds(parts, place) is is_held


def test_every_grant_of_a_way_has_to_hold_the_place() -> None:
    whole, costs, pages = limits(1, None), limits(2, COSTS), limits(3, PAGES)
    ways = [Way((whole, costs)), Way((costs, pages)), Way((pages,)), Way(())]
    allowed = {
        Place(1, 1, ("Costs",)): [0, 3],
        Place(3, 3, ("Costs",)): [0, 1, 2, 3],
        Place(3, 3, ("Clock",)): [2, 3],
        Place(1, 1, ("Clock",)): [3],
    }
    for place, numbers in allowed.items():
        assert ways_to_place(ways, place) == tuple(ways[number] for number in numbers)


def test_a_passage_of_several_sections_stands_in_what_is_above_all_of_them() -> None:
    later = ((9, ("Clock", "Costs", "Of 1987")), (20, ("Clock", "Repairs")))
    alone = PassageText("text", ("Clock", "Costs"))
    into_its_own = PassageText("text", ("Clock", "Costs"), later[:1])
    into_another = PassageText("text", ("Clock", "Costs"), later)
    assert set(place_of(alone, 1, 2).headings) == {"Clock", "Costs"}
    assert set(place_of(into_its_own, 1, 2).headings) == {"Clock", "Costs"}
    assert set(place_of(into_another, 1, 2).headings) == {"Clock"}
    assert (place_of(alone, 1, 2).page_start, place_of(alone, 1, 2).page_end) == (1, 2)


def test_uses_are_granted_of_what_counts_them_alone() -> None:
    terms = Terms(frozenset({GrantAction.READ}), max_uses=1)
    for kind in (ResourceKind.DOCUMENT, ResourceKind.COLLECTION):
        check_terms(kind, terms)
    for kind in (ResourceKind.RECORD, ResourceKind.RESPONSE, ResourceKind.CONVERSATION):
        with pytest.raises(InvalidRequestError) as refused:
            check_terms(kind, terms)
        assert refused.value.param == "max_uses"
