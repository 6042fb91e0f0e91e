"""Whatever part of a document is shared is found, all of it: a search finds each text that a reading shows."""

import io
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import grants_of, share
from tests.shelf import Shelf
from undercroft.retrieval.search.models import FoundPassage, Leg, SearchQuery
from undercroft.retrieval.texts.models import TextPiece
from undercroft.sharing.models import GrantAction, PageRange, Parts, ResourceKind, Terms

PARTS = Terms(frozenset({GrantAction.SEARCH, GrantAction.READ_PARTS}))
HANDBOOK = (
    """Kept by the warden.

# Mill

## Wheel

The wheel turns slowly.

### Bearings

They are of oak.

## Notices

## Stones

The stones came from Derby.

# Visitors

# Clock

Wound on Mondays.

## Repairs

It was mended twice.

# Costs

"""
    + "Each repair of the town clock cost nine pounds and a shilling. " * 60
)
SECTIONS = ("Mill", "Wheel", "Bearings", "Notices", "Stones", "Visitors", "Clock", "Repairs")


def make_pdf() -> bytes:
    """Six pages: short sections, of which one begins at the end of a page and others go on on the next one."""
    styles = getSampleStyleSheet()
    long = "Barley is weighed before it is ground, and again after it. " * 40

    def page(*blocks: tuple[str, str]) -> list[Flowable]:
        return [*(Paragraph(text, styles[style]) for style, text in blocks), PageBreak()]

    flow = [
        *page(("Heading1", "Mill"), ("Normal", "The wheel turns"), ("Heading1", "Stones")),
        *page(("Normal", "They came from Derby."), ("Heading1", "Clock")),
        *page(("Normal", "It is wound on Mondays."), ("Normal", "It was mended twice.")),
        *page(("Heading1", "Weighing"), ("Normal", long)),
        *page(("Normal", long), ("Heading1", "Visitors"), ("Normal", "Two came.")),
        *page(("Normal", "Three more came later.")),
    ]
    content = io.BytesIO()
    SimpleDocTemplate(content).build(flow)
    return content.getvalue()


async def keep(shelf: Shelf, owner: Member, filename: str, content: str | bytes) -> UUID:
    document = await shelf.put(owner, filename, content)
    await shelf.collections.create(owner, "papers", {}, [document])
    await shelf.run_jobs(owner)
    return document


async def check_all_is_found(
    shelf: Shelf, owner: Member, reader: Member, document: UUID, parts: Parts
) -> Sequence[TextPiece]:
    """What a reading shows of the parts; each piece of it is found by its own words, by either leg, as it is shown."""
    given = await share(
        shelf, owner, ResourceKind.DOCUMENT, document, reader, replace(PARTS, parts=parts)
    )
    shown = (await shelf.texts.read(reader, document, None, 100)).pieces
    for piece in shown:
        for leg in Leg:
            query = SearchQuery((), piece.text, 50, frozenset({leg}), is_everywhere=True)
            found = (await shelf.search.search(reader, query)).passages
            assert place_of(piece) in [place_of(passage) for passage in found], (parts, piece.text)
            assert {place_of(passage) for passage in found} <= {place_of(each) for each in shown}
    await grants_of(shelf).revoke(owner, given.id)
    return shown


def place_of(found: TextPiece | FoundPassage) -> tuple[object, ...]:
    page, page_end = found.page_start, found.page_end
    return (found.start, found.end, page, page_end, found.headings, found.text.strip())


@pytest.mark.timeout(300)
async def test_all_of_a_section_that_is_shared_is_found(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await keep(shelf, ann, "handbook.md", HANDBOOK)
    shown = {
        section: await check_all_is_found(shelf, ann, bob, document, Parts(sections=(section,)))
        for section in (*SECTIONS, "Costs")
    }
    assert {
        section: [piece.text.removeprefix("#").lstrip("# \n") for piece in shown[section]]
        for section in SECTIONS
    } == {
        "Mill": [
            "Mill\n\n## Wheel\n\nThe wheel turns slowly.",
            "Bearings\n\nThey are of oak.",
            "Notices",
            "Stones\n\nThe stones came from Derby.",
        ],
        "Wheel": ["Wheel\n\nThe wheel turns slowly.", "Bearings\n\nThey are of oak."],
        "Bearings": ["Bearings\n\nThey are of oak."],
        "Notices": ["Notices"],
        "Stones": ["Stones\n\nThe stones came from Derby."],
        "Visitors": ["Visitors"],
        "Clock": ["Clock\n\nWound on Mondays.", "Repairs\n\nIt was mended twice."],
        "Repairs": ["Repairs\n\nIt was mended twice."],
    }
    assert len(shown["Costs"]) > 2


@pytest.mark.timeout(300)
async def test_all_of_a_page_that_is_shared_is_found(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await keep(shelf, ann, "handbook.pdf", make_pdf())
    shown = {
        page: await check_all_is_found(
            shelf, ann, bob, document, Parts(pages=(PageRange(page, page),))
        )
        for page in range(1, 7)
    }
    assert [[piece.text for piece in shown[page]] for page in (1, 2, 3, 6)] == [
        ["Mill\n\nThe wheel turns", "Stones"],
        ["They came from Derby.", "Clock"],
        ["It is wound on Mondays.\nIt was mended twice."],
        ["Three more came later."],
    ]
    own = (await shelf.texts.read(ann, document, None, 100)).pieces
    on_pages = [piece.text for pieces in shown.values() for piece in pieces]
    assert on_pages == [piece.text for piece in own]
    assert len(own) > 9
    # A section that is shared is found on each of its pages.
    (weighing,) = [
        await check_all_is_found(shelf, ann, bob, document, Parts(sections=("Weighing",)))
    ]
    assert {piece.page_start for piece in weighing} == {4, 5}


@pytest.mark.timeout(300)
async def test_no_rank_tells_of_a_title_that_stands_on_the_page_before_what_is_shared(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """A passage of which nothing else than that title would show takes no place among others."""
    styles = getSampleStyleSheet()
    scores: list[list[float]] = []
    for title in ("Dismissal of Quill", "Weather"):
        content = io.BytesIO()
        SimpleDocTemplate(content).build(
            [
                Paragraph("Mill", styles["Heading1"]),
                Paragraph("The wheel turns.", styles["Normal"]),
                Paragraph(title, styles["Heading1"]),
                PageBreak(),
                Paragraph("Stones", styles["Heading2"]),
                Paragraph("They came from Derby by cart.", styles["Normal"]),
            ]
        )
        ann = await make_scope()
        bob = await make_scope(ann.tenant_id)
        document = await keep(shelf, ann, "handbook.pdf", content.getvalue())
        pieces = (await shelf.texts.read(ann, document, None, 100)).pieces
        assert title in [piece.text for piece in pieces]
        terms = replace(PARTS, parts=Parts(sections=("Stones",)))
        await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
        for legs in (frozenset({Leg.VECTOR}), frozenset(Leg)):
            query = SearchQuery((), "Dismissal of Quill stones", 10, legs, is_everywhere=True)
            found = (await shelf.search.search(bob, query)).passages
            scores.append([passage.score for passage in found])
    assert len(scores[0]) == 1
    assert scores[:2] == scores[2:]
