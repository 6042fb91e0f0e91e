"""Collections under grants: who reads them, what of them is counted and listed, and what stays their owner's."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import add_under, grants_of, share
from tests.shelf import Shelf
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.retrieval.collections.models import Page
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import (
    EVERY_MODEL_USE,
    GrantAction,
    ModelUse,
    ResourceKind,
    Terms,
)

ALL = Page(limit=100)
READ = Terms(frozenset({GrantAction.READ}))
LEND = Terms(frozenset({GrantAction.SEARCH, GrantAction.SHARE}))


async def listed(shelf: Shelf, scope: Member, collection: UUID) -> set[UUID]:
    members = await shelf.collections.list_members(scope, collection, ALL, None)
    return {member.document_id for member in members}


async def counted(shelf: Shelf, scope: Member, collection: UUID) -> tuple[int, int]:
    """By itself and in the list, which have to agree."""
    one = await shelf.collections.get(scope, collection)
    every = await shelf.collections.list_collections(scope, ALL)
    assert one in every
    return one.counts.total, one.byte_size


async def refusals(shelf: Shelf, actor: Member) -> set[tuple[str, str]]:
    async with shelf.database.transaction(actor) as transaction:
        rows = await transaction.fetch(
            "SELECT action, resource FROM ledger_pending"
            " WHERE actor_id = $1 AND outcome = 'denied'",
            actor.principal_id,
        )
    return {(row["action"], row["resource"]) for row in rows}


async def test_whoever_may_read_a_collection_sees_it_and_its_files_until_the_grant_ends(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    stranger = await make_scope()
    collection, documents = await shelf.fill(ann, {"a.txt": "One.", "b.txt": "Three."})
    given = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, READ)
    assert await shelf.collections.get(bob, collection) == await shelf.collections.get(
        ann, collection
    )
    assert await counted(shelf, bob, collection) == (2, 10)
    assert await listed(shelf, bob, collection) == set(documents.values())
    own = await shelf.collections.get_member(ann, collection, documents["a.txt"])
    assert await shelf.collections.get_member(bob, collection, documents["a.txt"]) == own
    await grants_of(shelf).revoke(ann, given.id)
    for other in (bob, cem, stranger):
        assert await shelf.collections.list_collections(other, ALL) == []
        for attempt in (
            shelf.collections.get(other, collection),
            shelf.collections.list_members(other, collection, ALL, None),
            shelf.collections.get_member(other, collection, documents["a.txt"]),
        ):
            with pytest.raises(NotFoundError):
                await attempt
    assert await refusals(shelf, bob) == {("collection.read", render_id("vs_", collection))}


async def test_a_model_has_what_is_ones_own_and_what_a_grant_to_read_lets_it_have(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, stranger = await make_scope(ann.tenant_id), await make_scope()
    terms = (
        READ,
        replace(READ, model_use=frozenset({ModelUse.QUOTE, ModelUse.SUMMARISE})),
        Terms(frozenset({GrantAction.SEARCH})),
    )
    collections: list[UUID] = []
    for each in terms:
        collection, _ = await shelf.fill(ann, {})
        await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, each)
        collections.append(collection)
    for scope, model_use, shown in (
        (ann, EVERY_MODEL_USE, collections),
        (bob, EVERY_MODEL_USE, collections[:1]),
        (bob, frozenset({ModelUse.QUOTE}), collections[:2]),
        (stranger, EVERY_MODEL_USE, []),
    ):
        found = await shelf.collections.list_for_models(scope, collections, model_use)
        assert found == set(shown)


async def test_changing_it_is_its_owners_alone_and_reading_it_takes_read(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"a.txt": "One."})
    mine = await shelf.put(bob, "mine.txt", "Mine.")
    every = frozenset(GrantAction)
    await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, Terms(every))
    without = Terms(every - {GrantAction.READ, GrantAction.READ_PARTS})
    await share(shelf, ann, ResourceKind.COLLECTION, collection, cem, without)
    of, document = shelf.collections, documents["a.txt"]
    changes: list[Callable[[Member], Awaitable[object]]] = [
        lambda who: of.update(who, collection, "stolen", None),
        lambda who: of.delete(who, collection),
        lambda who: of.add(who, collection, mine, {}),
        lambda who: of.update_member(who, collection, document, {"stolen": True}),
        lambda who: of.remove(who, collection, document),
        lambda who: of.read_member(who, collection, document),
    ]
    readings: list[Callable[[Member], Awaitable[object]]] = [
        lambda who: of.get(who, collection),
        lambda who: of.list_members(who, collection, ALL, None),
        lambda who: of.get_member(who, collection, document),
    ]
    for who, attempts in ((bob, changes), (cem, [*changes, *readings])):
        for attempt in attempts:
            with pytest.raises(NotGrantedError):
                await attempt(who)
    assert await of.list_collections(cem, ALL) == []
    assert len(await refusals(shelf, cem)) >= 6
    (member,) = await of.list_members(ann, collection, ALL, None)
    assert ((await of.get(ann, collection)).name, member.attributes) == ("papers", {})


async def test_nobody_counts_what_they_may_not_list(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob, cem, dan = [await make_scope(ann.tenant_id) for _ in range(3)]
    papers = (await shelf.collections.create(bob, "papers", {})).id
    mine = await shelf.put(bob, "mine.txt", "Mine.")
    await shelf.collections.add(bob, papers, mine, {})
    lent, read = [await shelf.put(ann, f"{name}.txt", "Hers, lent.") for name in "ab"]
    searched = await share(shelf, ann, ResourceKind.DOCUMENT, lent, bob, LEND)
    await add_under(shelf, bob, papers, searched)
    both = replace(LEND, actions=LEND.actions | {GrantAction.READ})
    await add_under(
        shelf, bob, papers, await share(shelf, ann, ResourceKind.DOCUMENT, read, bob, both)
    )
    await share(shelf, bob, ResourceKind.COLLECTION, papers, cem, READ)
    searching = Terms(frozenset({GrantAction.READ, GrantAction.SEARCH}))
    await share(shelf, bob, ResourceKind.COLLECTION, papers, dan, searching)
    for who, known, size in (
        (bob, {mine, lent, read}, 27),
        (cem, {mine, read}, 16),  # what was lent to be searched is nothing that its readers know of
        (dan, {mine, lent, read}, 27),
    ):
        assert await listed(shelf, who, papers) == known
        assert await counted(shelf, who, papers) == (len(known), size)
    with pytest.raises(NotFoundError):
        await shelf.collections.get_member(cem, papers, lent)
    await grants_of(shelf).revoke(ann, searched.id)
    for who, known, size in ((bob, {mine, read}, 16), (cem, {mine, read}, 16)):
        assert await listed(shelf, who, papers) == known
        assert await counted(shelf, who, papers) == (len(known), size)


async def test_pages_of_own_and_shared_collections_meet_without_a_gap(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    made: list[UUID] = []
    for number in range(6):
        owner = (ann, bob)[number % 2]
        made.append((await shelf.collections.create(owner, str(number), {})).id)
        if owner is ann:
            for _ in range(2):  # by two ways, and listed once
                await share(shelf, ann, ResourceKind.COLLECTION, made[-1], bob, READ)
    for ascending in (True, False):
        seen: list[UUID] = []
        while found := await shelf.collections.list_collections(
            bob, Page(2, seen[-1] if seen else None, ascending)
        ):
            seen += [collection.id for collection in found]
        assert seen == sorted(made, reverse=not ascending)
