"""From one embedding model to another: both embed what is new, the rest follows, and searches never mix them."""

import asyncio
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.spaces.conftest import PROJECTED, Move
from tests.stepping import until_blocked
from undercroft.kit.errors import NotFoundError
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.embedding.models import MINILM
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.spaces.errors import BackfillIncompleteError, ModelInUseError

TEXTS = {
    "clock.txt": "The clock in the town hall tower was repaired by a watchmaker.",
    "boat.txt": "The ferry to the island leaves at seven in the morning.",
    "mill.txt": "The old watermill grinds flour for the village bakery.",
}
OTHERS = {
    "bread.txt": "Sourdough needs a long rest before it goes into the oven.",
    "ship.txt": "Sailing boats wait in the harbour until the storm has passed.",
}


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    return await make_scope()


async def names(move: Move, ann: Member, text: str, *collections: UUID) -> list[str]:
    return [it.filename for it in (await move.near(ann, text, *collections)).passages]


async def test_what_is_new_is_embedded_by_both(move: Move, ann: Member) -> None:
    await move.shelf.fill(ann, TEXTS)
    assert await move.embedded(ann, MINILM) == (3, 3)
    assert await move.embedded(ann, PROJECTED) == (3, 3)
    assert await move.backfill().go_on() == 0


async def test_what_was_there_follows_and_the_switch_waits_for_it(move: Move, ann: Member) -> None:
    collection, _ = await move.before.fill(ann, TEXTS)
    assert await move.embedded(ann, PROJECTED) == (0, 3)
    for place in (None, collection):
        with pytest.raises(BackfillIncompleteError) as refused:
            await move.spaces.switch(ann.tenant_id, PROJECTED.name, place)
        assert refused.value.status == 409
        assert "3 passages" in refused.value.message
    await move.complete(ann)
    assert await move.embedded(ann, PROJECTED) == (3, 3)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name, collection)
    move.incoming.asked.clear()
    move.shelf.embedder.asked.clear()
    assert (await names(move, ann, "boat schedule", collection))[0] == "boat.txt"
    assert (move.incoming.asked, move.shelf.embedder.asked) == (["boat schedule"], [])


async def test_it_is_switched_back_at_once(move: Move, ann: Member) -> None:
    collection, _ = await move.shelf.fill(ann, TEXTS)
    for model, asked in ((PROJECTED, move.incoming), (MINILM, move.shelf.embedder)):
        await move.spaces.switch(ann.tenant_id, model.name, collection)
        move.incoming.asked.clear()
        move.shelf.embedder.asked.clear()
        assert (await names(move, ann, "boat schedule", collection))[0] == "boat.txt"
        assert move.incoming.asked + move.shelf.embedder.asked == asked.asked == ["boat schedule"]


async def test_two_spaces_are_ranked_apart_and_fused_by_ranks(move: Move, ann: Member) -> None:
    first, _ = await move.shelf.fill(ann, TEXTS)
    second, _ = await move.shelf.fill(ann, OTHERS)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name, second)
    result = await move.near(ann, "boats on the sea", first, second)
    found = [it.filename for it in result.passages]
    assert set(found[:2]) == {"boat.txt", "ship.txt"}, "the first of each space"
    assert set(found) == {*TEXTS, *OTHERS}
    assert result.degraded == frozenset()
    # Each has the similarity that its own space gives it.
    alone = {
        it.filename: it.similarity
        for collection in (first, second)
        for it in (await move.near(ann, "boats on the sea", collection)).passages
    }
    assert {it.filename: it.similarity for it in result.passages} == alone


async def test_everything_is_searched_with_the_model_of_the_tenant(move: Move, ann: Member) -> None:
    first, _ = await move.shelf.fill(ann, TEXTS)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name, first)
    assert (await names(move, ann, "boat schedule"))[0] == "boat.txt"
    assert move.shelf.embedder.asked[-1] == "boat schedule"
    assert "boat schedule" not in move.incoming.asked
    await move.spaces.switch(ann.tenant_id, PROJECTED.name)
    assert (await names(move, ann, "boat schedule"))[0] == "boat.txt"
    assert move.incoming.asked[-1] == "boat schedule"


async def test_with_the_tenant_its_collections_change(move: Move, ann: Member) -> None:
    collection, _ = await move.shelf.fill(ann, TEXTS)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name, collection)
    await move.spaces.switch(ann.tenant_id, MINILM.name)
    await names(move, ann, "boat schedule", collection)
    assert move.shelf.embedder.asked[-1] == "boat schedule"
    assert "boat schedule" not in move.incoming.asked


async def test_another_tenant_keeps_its_model(
    move: Move, ann: Member, make_scope: MakeScope
) -> None:
    bob = await make_scope()
    collection, _ = await move.shelf.fill(bob, TEXTS)
    await move.shelf.fill(ann, TEXTS)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name)
    await names(move, bob, "boat schedule", collection)
    assert move.shelf.embedder.asked[-1] == "boat schedule"
    with pytest.raises(NotFoundError, match="vector store"):
        await move.spaces.switch(ann.tenant_id, PROJECTED.name, collection)


async def test_a_model_that_does_not_answer_is_missed_in_its_own_space_alone(
    move: Move, ann: Member
) -> None:
    first, _ = await move.shelf.fill(ann, TEXTS)
    second, _ = await move.shelf.fill(ann, OTHERS)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name, second)
    await move.incoming.close()
    result = await move.near(ann, "boats", first, second)
    assert {it.filename for it in result.passages} == set(TEXTS)
    assert result.degraded == {"vector"}


async def test_a_model_that_is_not_here_is_said_to_be_missing(move: Move, ann: Member) -> None:
    collection, _ = await move.shelf.fill(ann, TEXTS)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name)
    result = await move.before.search.search(ann, SearchQuery((collection,), "the ferry", 10))
    assert result.degraded == {"vector"}
    assert result.passages[0].filename == "boat.txt", "by its words"


async def test_an_incoming_model_that_fails_holds_nothing_up(move: Move, ann: Member) -> None:
    await move.incoming.close()
    await move.shelf.fill(ann, TEXTS)
    assert await move.embedded(ann, MINILM) == (3, 3)
    assert await move.embedded(ann, PROJECTED) == (0, 3)


async def test_a_worker_that_does_not_know_the_model_in_use_leaves_it_to_the_others(
    move: Move, ann: Member
) -> None:
    await move.shelf.fill(ann, TEXTS)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name)
    await move.before.fill(ann, OTHERS)
    assert await move.embedded(ann, PROJECTED) == (3, 5)
    assert await move.backfill().go_on() == 2
    assert await move.embedded(ann, PROJECTED) == (5, 5)


async def test_a_model_is_retired_when_nothing_is_searched_with_it(move: Move, ann: Member) -> None:
    collection, _ = await move.shelf.fill(ann, TEXTS)
    with pytest.raises(ModelInUseError):
        await move.spaces.retire(MINILM.name)
    await move.spaces.set_default(PROJECTED.name)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name)
    await move.spaces.switch(ann.tenant_id, MINILM.name, collection)
    with pytest.raises(ModelInUseError):
        await move.spaces.retire(MINILM.name)
    await move.spaces.switch(ann.tenant_id, PROJECTED.name)
    await move.spaces.retire(MINILM.name)
    with pytest.raises(NotFoundError):
        await move.spaces.switch(ann.tenant_id, MINILM.name, collection)
    await move.shelf.fill(ann, OTHERS)
    assert await move.embedded(ann, MINILM) == (3, 5), "nothing is embedded by it any more"
    assert await move.embedded(ann, PROJECTED) == (5, 5)


async def test_a_choice_and_a_retirement_at_once_do_not_both_happen(
    move: Move, ann: Member
) -> None:
    collection, _ = await move.shelf.fill(ann, TEXTS)
    async with move.shelf.database.transaction(ann) as transaction:
        model_id = await transaction.fetchval(
            "SELECT lock_embedding_model($1, NULL)", PROJECTED.name
        )
        retiring = asyncio.create_task(move.spaces.retire(PROJECTED.name))
        await until_blocked(move.shelf.database)
        await transaction.execute(
            "INSERT INTO embedding_choices VALUES ($1, $2, $3)", ann.tenant_id, collection, model_id
        )
    with pytest.raises(ModelInUseError):
        await retiring


async def test_what_is_brought_back_while_its_vectors_are_deleted_keeps_them(
    move: Move, ann: Member, database_urls: DatabaseUrls
) -> None:
    await move.shelf.fill(ann, TEXTS)
    await move.spaces.retire(PROJECTED.name)
    (model,) = [it for it in await move.spaces.list_models() if it.name == PROJECTED.name]
    async with move.shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT lock_retired_model($1)", model.id)
        coming = asyncio.create_task(
            register_model(database_urls.migration, PROJECTED.name, PROJECTED.dimensions)
        )
        # A batch that is being deleted: it comes back after that, and no other is deleted.
        async with asyncio.timeout(60):
            while not await transaction.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
            ):
                pass
    await coming
    with pytest.raises(ModelInUseError, match="brought it back"):
        await move.spaces.delete_vectors(ann.tenant_id, model, 0)
    embedded, passages = await move.embedded(ann, PROJECTED)
    assert embedded == passages > 0
    await move.spaces.retire(PROJECTED.name)
    assert await move.spaces.delete_vectors(ann.tenant_id, model, 0) is not None
    assert (await move.embedded(ann, PROJECTED))[0] == 0
