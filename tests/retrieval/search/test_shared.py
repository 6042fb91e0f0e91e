"""Search under grants: what is found, by which way, on whose record, and what neither ranks nor places tell."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_instant import FINAL_STATEMENT
from tests.shelf import Shelf
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Transaction
from undercroft.kit.errors import ErrorKind, NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, render_id
from undercroft.retrieval.search.models import FoundPassage, SearchQuery
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    ModelUse,
    PageRange,
    Parts,
    Resource,
    ResourceKind,
    Terms,
    Way,
)
from undercroft.sharing.service import GrantService
from undercroft.sharing.uses import GrantUses

TEXTS = {
    "mill.txt": "The watermill on the Alder grinds barley for three villages.",
    "clock.txt": "The town clock was repaired by Marta Quill in 1987.",
    "boat.txt": "A ferry crosses the estuary twice a day, weather permitting.",
}
SEARCH = Terms(frozenset({GrantAction.SEARCH, GrantAction.SHARE}))
ASKED = "Who repaired the town clock?"
ANSWERING = frozenset({ModelUse.SUMMARISE})


def grants_of(shelf: Shelf) -> GrantService:
    people = IdentityService(shelf.stepped, shelf.ledger, IdSource(), SystemClock())
    return GrantService(shelf.stepped, shelf.ledger, IdSource(), people)


async def share(
    shelf: Shelf, giver: Member, kind: ResourceKind, thing: UUID, to: Member, terms: Terms = SEARCH
) -> Grant:
    grantee = Grantee(GranteeKind.USER, to.principal_id)
    return await grants_of(shelf).create(giver, Resource(kind, thing), grantee, terms)


async def add_under(shelf: Shelf, adder: Member, collection: UUID, grant: Grant) -> None:
    """Put somebody else's document into a collection, under the grant to share it."""
    async with shelf.database.transaction(adder) as transaction:
        await transaction.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id, added_by, grant_id)"
            " VALUES ($1, $2, $3, $4, $5)",
            adder.tenant_id,
            collection,
            grant.resource.id,
            adder.principal_id,
            grant.id,
        )


async def find(
    shelf: Shelf,
    scope: Member,
    collection: UUID,
    *,
    limit: int = 10,
    text: str = ASKED,
    use: frozenset[ModelUse] = frozenset(),
) -> Sequence[FoundPassage]:
    query = SearchQuery((collection,), text, limit, model_use=use)
    return (await shelf.search.search(scope, query)).passages


def names(passages: Sequence[FoundPassage]) -> set[str]:
    return {passage.filename for passage in passages}


async def test_a_shared_collection_is_searched_until_its_grant_ends(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, TEXTS)
    given = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob)
    own, shared = await find(shelf, ann, collection), await find(shelf, bob, collection)
    assert [(each.text, each.score) for each in shared] == [(each.text, each.score) for each in own]
    assert {tuple(grant.id for grant in each.way.grants) for each in shared} == {(given.id,)}
    assert {each.way.grants for each in own} == {()}
    await grants_of(shelf).revoke(ann, given.id)
    with pytest.raises(NotFoundError):
        await find(shelf, bob, collection)


async def test_what_is_found_under_grants_is_on_its_owners_record_with_them(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, {"clock.txt": TEXTS["clock.txt"]})
    papers = (await shelf.collections.create(bob, "papers", {})).id
    clock = documents["clock.txt"]
    lent = await share(shelf, ann, ResourceKind.DOCUMENT, clock, bob)
    await add_under(shelf, bob, papers, lent)
    given = await share(shelf, bob, ResourceKind.COLLECTION, papers, cem)
    [passage] = await find(shelf, replace(cem, purpose="audit"), papers)
    async with shelf.database.transaction(cem) as transaction:
        rows = await transaction.fetch(
            "SELECT id, action, resource, owner_id, grant_id, purpose, version FROM ledger_pending"
            " WHERE actor_id = $1 ORDER BY ordinal",
            cem.principal_id,
        )
    assert [tuple(row)[1:] for row in rows] == [
        ("collection.search", render_id("vs_", papers), bob.principal_id, given.id, "audit", None),
        ("document.search", render_id("file-", clock), ann.principal_id, given.id, "audit", 1),
        ("document.search", render_id("file-", clock), ann.principal_id, lent.id, "audit", 1),
    ]
    assert passage.entry_ids == (rows[1]["id"], rows[2]["id"])


async def test_whoever_may_see_a_collection_and_not_search_it_is_told_so(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, TEXTS)
    await share(
        shelf,
        ann,
        ResourceKind.COLLECTION,
        collection,
        bob,
        Terms(frozenset({GrantAction.READ})),
    )
    with pytest.raises(UndercroftError) as refused:
        await find(shelf, bob, collection)
    assert (refused.value.kind, refused.value.code) == (ErrorKind.FORBIDDEN, "not_granted")


FIRST = "# Clock\n\n## Repairs\n\nThe town clock was repaired by Marta Quill in 1987.\n\n"
SECOND = "## Costs\n\n" + "The repair of the town clock cost nine pounds. " * 60


async def test_only_the_shared_sections_are_found_and_the_others_leave_no_gap(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, {"clock.md": FIRST + SECOND})
    mine, _ = await shelf.fill(bob, {"boat.txt": "A ferry that is slower than the town clock."})
    alone = await find(shelf, bob, mine, text="the town clock and what it cost")
    parts = Parts(sections=("Nothing of it",))
    lent = await share(
        shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, replace(SEARCH, parts=parts)
    )
    await add_under(shelf, bob, mine, lent)
    # Scores are those of a collection without it: how many better passages there are elsewhere does not show.
    [passage] = await find(shelf, bob, mine, text="the town clock and what it cost", limit=1)
    assert (passage.filename, passage.score) == ("boat.txt", alone[0].score)
    parts = Parts(sections=("Costs",))
    lent = await share(
        shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, replace(SEARCH, parts=parts)
    )
    found = await find(shelf, bob, mine, text="the town clock and what it cost")
    assert len(found) > 2
    assert "Quill" not in "".join(passage.text for passage in found)


async def test_a_section_is_shared_without_the_titles_above_it_and_beside_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    body = "The repair of the town clock cost nine pounds. " * 60
    _, documents = await shelf.fill(
        ann, {"clock.md": f"# Clock\n\n## Dismissals\n\n## Costs\n\n{body}"}
    )
    parts = Parts(sections=("Costs",))
    lent = await share(
        shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, replace(SEARCH, parts=parts)
    )
    papers = (await shelf.collections.create(bob, "papers", {})).id
    await add_under(shelf, bob, papers, lent)
    found = await find(shelf, bob, papers, text="what the town clock cost")
    assert found
    assert {passage.headings for passage in found} == {("Costs",)}
    for title in ("# Clock", "'Clock'", "Dismissals"):
        assert title not in repr(found)


async def test_titles_above_a_shared_section_are_neither_in_its_passage_nor_with_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """Also where they have no text of their own, and so begin the passage of what is below them."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    text = f"# Quill\n\n## Dismissal\n\n### Costs\n\n{TEXTS['clock.txt']}"
    collection, documents = await shelf.fill(ann, {"clock.md": text})
    [whole] = await find(shelf, ann, collection)
    assert (whole.headings, whole.text, whole.hidden) == (("Quill", "Dismissal", "Costs"), text, 0)
    papers = (await shelf.collections.create(bob, "papers", {})).id
    for parts, headings in (
        (Parts(sections=("Costs",)), ("Costs",)),
        (Parts(sections=("Dismissal",)), ("Dismissal", "Costs")),
    ):
        terms = replace(SEARCH, parts=parts)
        lent = await share(shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, terms)
        await add_under(shelf, bob, papers, lent)
        [passage] = await find(shelf, bob, papers)
        begin = text.index("#" * (4 - len(headings)) + f" {headings[0]}")
        assert (passage.start, passage.hidden, passage.text) == (begin, begin, text[begin:])
        assert passage.headings == headings
        await grants_of(shelf).revoke(ann, lent.id)


@pytest.mark.parametrize(
    "above",
    [
        "# Divorce of [Ann](https://x.example/secret)",
        "# Divorce &amp; secret",
        "# Divorce ![secret](secret.png)",
        "[a]: https://x.example/secret\n\n# Divorce of [Ann][a]",
        "Divorce of\n[Ann](https://x.example/secret)\n===",
        "# Rent of a secret\n\n## <b>Divorce, secret</b>",
    ],
    ids=["link", "entity", "image", "reference", "underlined", "nested"],
)
async def test_no_line_of_a_title_above_a_shared_section_shows_whatever_markup_is_in_it(
    shelf: Shelf, make_scope: MakeScope, above: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    text = f"{above}\n\n### Rent\n\n{TEXTS['clock.txt']}"
    _, documents = await shelf.fill(ann, {"rent.md": text})
    terms = replace(SEARCH, parts=Parts(sections=("Rent",)))
    await share(shelf, ann, ResourceKind.DOCUMENT, documents["rent.md"], bob, terms)
    query = SearchQuery((), ASKED, 10, is_everywhere=True)
    found = (await shelf.search.search(bob, query)).passages
    assert [passage.text for passage in found] == [text[text.index("### Rent") :]]


async def test_a_passage_is_shown_under_the_grant_of_the_part_that_it_stands_in(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    costs, repairs = (
        "The town clock cost nine pounds. " * 60,
        "The town clock was repaired. " * 60,
    )
    text = f"# Clock\n\n## Costs\n\n{costs}\n\n## Repairs\n\n{repairs}"
    _, documents = await shelf.fill(ann, {"clock.md": text})
    given: dict[str, UUID] = {}
    for section in ("Repairs", "Costs"):
        terms = replace(SEARCH, parts=Parts(sections=(section,)))
        lent = await share(shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, terms)
        given[section] = lent.id
    query = SearchQuery((), "what the town clock cost", 10, is_everywhere=True)
    found = (await shelf.search.search(bob, query)).passages
    assert {(passage.headings[-1], passage.way.grants[0].id) for passage in found} == set(
        given.items()
    )


async def test_pages_are_shared_by_their_numbers(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, {"a.txt": TEXTS["clock.txt"], "b.txt": TEXTS["boat.txt"]})
    papers = (await shelf.collections.create(bob, "papers", {})).id
    parts = Parts((PageRange(2, 3),))
    for document in documents.values():
        lent = await share(
            shelf, ann, ResourceKind.DOCUMENT, document, bob, replace(SEARCH, parts=parts)
        )
        await add_under(shelf, bob, papers, lent)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE chunks SET page_start = 2, page_end = CASE WHEN blob_id ="
            " (SELECT blob_id FROM document_versions WHERE document_id = $1) THEN 3 ELSE 4 END",
            documents["a.txt"],
        )
    assert names(await find(shelf, bob, papers)) == {"a.txt"}


async def test_a_model_gets_only_what_may_be_used_so_and_others_take_its_place(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, TEXTS)
    papers = (await shelf.collections.create(bob, "papers", {})).id
    uses = {
        "clock.txt": frozenset({ModelUse.QUOTE}),
        "mill.txt": frozenset({ModelUse.SUMMARISE}),
        "boat.txt": None,
    }
    for name, model_use in uses.items():
        lent = await share(
            shelf,
            ann,
            ResourceKind.DOCUMENT,
            documents[name],
            bob,
            replace(SEARCH, model_use=model_use),
        )
        await add_under(shelf, bob, papers, lent)
    assert [each.filename for each in await find(shelf, bob, papers, limit=1)] == ["clock.txt"]
    assert names(await find(shelf, bob, papers, use=ANSWERING)) == {"mill.txt", "boat.txt"}
    quoting = frozenset({ModelUse.QUOTE})
    assert names(await find(shelf, bob, papers, use=quoting)) == {"clock.txt", "boat.txt"}
    outside = frozenset({ModelUse.SUMMARISE, ModelUse.EXTERNAL})
    assert names(await find(shelf, bob, papers, limit=1, use=outside)) == {"boat.txt"}


async def test_an_answer_is_one_use_whatever_it_finds_and_a_search_is_none(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, TEXTS)
    given = await share(
        shelf, ann, ResourceKind.COLLECTION, collection, bob, replace(SEARCH, max_uses=2)
    )
    assert len(await find(shelf, bob, collection)) == 3
    assert (await grants_of(shelf).get(ann, given.id)).uses == 0
    for used in (1, 2):
        assert len(await find(shelf, bob, collection, use=ANSWERING)) == 3
        assert (await grants_of(shelf).get(ann, given.id)).uses == used
    with pytest.raises(NotFoundError):
        await find(shelf, bob, collection, use=ANSWERING)


async def test_who_loses_the_last_use_to_another_gets_nothing_and_leaves_no_record(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, TEXTS)
    given = await share(
        shelf, ann, ResourceKind.COLLECTION, collection, bob, replace(SEARCH, max_uses=1)
    )
    count = GrantUses.count

    async def count_second(self: GrantUses, transaction: Transaction, way: Way) -> None:
        monkeypatch.setattr(GrantUses, "count", count)
        await find(shelf, bob, collection, use=ANSWERING)
        await count(self, transaction, way)

    monkeypatch.setattr(GrantUses, "count", count_second)
    with pytest.raises(GrantEndedError):
        await find(shelf, bob, collection, use=ANSWERING)
    async with shelf.database.transaction(bob) as transaction:
        answers = await transaction.fetchval(
            "SELECT count(*) FROM ledger_pending WHERE action = 'document.answer'"
        )
    assert answers == 3
    assert (await grants_of(shelf).get(ann, given.id)).uses == 1


async def test_a_grant_that_ends_between_the_legs_and_the_reading_ends_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, TEXTS)
    papers = (await shelf.collections.create(bob, "papers", {})).id
    lent = {
        name: await share(shelf, ann, ResourceKind.DOCUMENT, document, bob)
        for name, document in documents.items()
    }
    for grant in lent.values():
        await add_under(shelf, bob, papers, grant)
    gate = shelf.stepped.step(stop_before=FINAL_STATEMENT)
    searching = asyncio.create_task(find(shelf, bob, papers))
    await gate.wait_until_reached()
    await grants_of(shelf).revoke(ann, lent["clock.txt"].id)
    gate.open()
    assert names(await searching) == {"mill.txt", "boat.txt"}


async def everywhere(shelf: Shelf, scope: Member, text: str = ASKED) -> set[str]:
    query = SearchQuery((), text, 10, is_everywhere=True)
    return names((await shelf.search.search(scope, query)).passages)


@pytest.mark.parametrize("listed", [2_000, 0], ids=["listed", "asked for one by one"])
async def test_everything_is_what_is_ones_own_granted_or_in_a_collection_and_nothing_else(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.repository._LISTED_CONTENTS", listed)
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    await shelf.fill(bob, {"own.txt": "The town clock is mine, said Bob."})
    _, documents = await shelf.fill(ann, TEXTS)
    papers, _ = await shelf.fill(cem, {"cems.txt": "The town clock strikes thirteen."})
    assert await everywhere(shelf, bob) == {"own.txt"}
    lent = await share(shelf, ann, ResourceKind.DOCUMENT, documents["clock.txt"], bob)
    given = await share(shelf, cem, ResourceKind.COLLECTION, papers, bob)
    assert await everywhere(shelf, bob) == {"own.txt", "clock.txt", "cems.txt"}
    await grants_of(shelf).revoke(cem, given.id)
    await grants_of(shelf).revoke(ann, lent.id)
    assert await everywhere(shelf, bob) == {"own.txt"}


async def test_a_document_that_is_shared_is_searched_by_itself(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, TEXTS)
    clock = documents["clock.txt"]
    query = SearchQuery((), ASKED, 10, document_ids=(clock,))
    with pytest.raises(NotFoundError):
        await shelf.search.search(bob, query)
    lent = await share(shelf, ann, ResourceKind.DOCUMENT, clock, bob)
    assert names((await shelf.search.search(bob, query)).passages) == {"clock.txt"}
    await grants_of(shelf).revoke(ann, lent.id)
    await share(shelf, ann, ResourceKind.DOCUMENT, clock, bob, Terms(frozenset({GrantAction.READ})))
    with pytest.raises(UndercroftError) as refused:
        await shelf.search.search(bob, query)
    assert refused.value.code == "not_granted"
