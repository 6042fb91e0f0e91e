"""What may be read is decided when it is read: whatever happens after the legs have proposed."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import Gate
from undercroft.kit.errors import NotFoundError, UnavailableError
from undercroft.kit.ids import IdSource
from undercroft.retrieval.search.models import Leg, SearchQuery

TEXTS = {
    "mill.txt": "The watermill on the Alder grinds barley for three villages.",
    "clock.txt": "The town clock was repaired by Marta Quill in 1987.",
    "boat.txt": "A ferry crosses the estuary twice a day, weather permitting.",
}
FINAL_STATEMENT = 4
"""The search's last transaction, after the words, the spaces and what is near."""

Change = Callable[[Shelf, Member, UUID, UUID], Awaitable[None]]


async def delete_document(shelf: Shelf, scope: Member, collection: UUID, document: UUID) -> None:
    del collection
    await shelf.documents.delete(scope, document)


async def remove_member(shelf: Shelf, scope: Member, collection: UUID, document: UUID) -> None:
    await shelf.collections.remove(scope, collection, document)


async def give_away(shelf: Shelf, scope: Member, collection: UUID, document: UUID) -> None:
    """Whatever will one day move a document to another owner, and with it what its owner's will has put where."""
    async with shelf.database.transaction(scope) as transaction:
        colleague = IdSource().new()
        await transaction.execute(
            "INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, 'bob@example.org', 'admin')",
            colleague,
            scope.tenant_id,
        )
        await transaction.execute(
            "UPDATE documents SET owner_id = $1 WHERE id = $2", colleague, document
        )
        await transaction.execute(
            "DELETE FROM collection_documents WHERE collection_id = $1 AND document_id = $2",
            collection,
            document,
        )


@pytest.mark.parametrize("change", [delete_document, remove_member, give_away])
async def test_what_is_taken_away_between_the_legs_and_the_reading_is_not_in_the_answer(
    shelf: Shelf, make_scope: MakeScope, change: Change
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, TEXTS)
    query = SearchQuery((collection,), "Who repaired the town clock?", 10)
    first, *_ = (await shelf.search.search(ann, query)).passages
    assert first.filename == "clock.txt"
    gate = shelf.stepped.step(stop_before=FINAL_STATEMENT)
    searching = asyncio.create_task(shelf.search.search(ann, query))
    await gate.wait_until_reached()
    await change(shelf, ann, collection, documents["clock.txt"])
    gate.open()
    passages = (await searching).passages
    assert {passage.filename for passage in passages} == {"mill.txt", "boat.txt"}


async def test_a_collection_that_is_deleted_meanwhile_does_not_exist(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"clock.txt": TEXTS["clock.txt"]})
    gate = shelf.stepped.step(stop_before=FINAL_STATEMENT)
    searching = asyncio.create_task(
        shelf.search.search(ann, SearchQuery((collection,), "clock", 10))
    )
    await gate.wait_until_reached()
    await shelf.collections.delete(ann, collection)
    gate.open()
    with pytest.raises(NotFoundError):
        await searching


async def test_a_content_that_two_documents_hold_is_shown_once_and_stays_with_the_other(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    text = TEXTS["clock.txt"]
    collection, documents = await shelf.fill(ann, {"clock.txt": text, "copy.txt": text})
    query = SearchQuery((collection,), "Who repaired the town clock?", 10)
    (passage,) = (await shelf.search.search(ann, query)).passages
    await shelf.documents.delete(ann, passage.document_id)
    (other,) = (await shelf.search.search(ann, query)).passages
    assert {passage.document_id, other.document_id} == set(documents.values())
    assert (passage.text, passage.start, passage.end) == (text, 0, len(text))


async def test_the_same_content_of_a_colleague_is_not_found(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague = await make_scope(ann.tenant_id, role="admin")
    mine, _ = await shelf.fill(ann, {"mine.txt": TEXTS["boat.txt"]})
    for other in (stranger, colleague):
        theirs, _ = await shelf.fill(other, {"theirs.txt": TEXTS["clock.txt"]})
        for query in ("clock", "Who repaired the town clock?"):
            found = await shelf.search.search(ann, SearchQuery((mine,), query, 10))
            assert [passage.filename for passage in found.passages] == ["mine.txt"]
            with pytest.raises(NotFoundError):
                await shelf.search.search(ann, SearchQuery((mine, theirs), query, 10))


async def test_several_collections_are_searched_as_one(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    made = [(await shelf.fill(ann, {name: text}))[0] for name, text in TEXTS.items()]
    result = await shelf.search.search(ann, SearchQuery(made, "clock ferry watermill", 10))
    assert {passage.filename for passage in result.passages} == set(TEXTS)
    limited = await shelf.search.search(ann, SearchQuery(made, "clock ferry watermill", 2))
    wanted = [passage.chunk_id for passage in result.passages[:2]]
    assert [passage.chunk_id for passage in limited.passages] == wanted


async def test_without_the_embedder_the_words_answer_alone_and_say_so(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    whole = await shelf.search.search(ann, SearchQuery((collection,), "the clock", 10))
    assert whole.degraded == frozenset()
    await shelf.embedder.close()
    result = await shelf.search.search(ann, SearchQuery((collection,), "the clock", 10))
    assert result.degraded == {Leg.VECTOR}
    (passage,) = result.passages
    assert (passage.filename, passage.score, passage.similarity) == ("clock.txt", 1.0, None)
    with pytest.raises(UnavailableError):
        await shelf.search.search(
            ann, SearchQuery((collection,), "the clock", 10, frozenset({Leg.VECTOR}))
        )


async def test_a_leg_that_fails_ends_the_other_and_is_told_as_it_is(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    shelf.embedder.gate = Gate()  # holds the vector leg; it is never opened
    before = asyncio.all_tasks()
    with pytest.raises(asyncpg.CharacterNotInRepertoireError):
        await shelf.search.search(ann, SearchQuery((IdSource().new(),), "a\x00b", 10))
    assert shelf.embedder.gate.reached.is_set()
    assert asyncio.all_tasks() <= before


async def test_a_passage_says_in_which_section_it_stands(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(
        ann, {"house.md": "# House\n\n## Pets\n\nDogs are welcome.\n\n## Keys\n\nTwo brass keys."}
    )
    found = await shelf.search.search(ann, SearchQuery((collection,), "brass keys", 10))
    assert found.passages[0].headings == ("House", "Keys")
    assert found.passages[0].text.startswith("## Keys")
