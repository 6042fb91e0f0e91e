"""What every vector index promises, asked of each implementation."""

import numpy as np
import pytest

from tests import rows
from tests.conftest import MakeScope
from tests.retrieval.search.test_at_size import MODEL, draw_vectors, fill
from tests.retrieval.search.test_reach import _ALLOWED, World
from tests.retrieval.search.test_reach import MODEL as SMALL
from tests.retrieval.vectors.archive import SHARES, SHOWN, Archive, ask, fill_archive, find
from tests.retrieval.vectors.conftest import Implementation
from undercroft.kit.database import Database
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.filters import Comparison

QUESTIONS = draw_vectors(10, np.random.default_rng(2))


async def test_as_many_as_there_are_of_the_nearest_are_found_however_few_may_be_searched(
    implementation: Implementation, archive: Archive
) -> None:
    await implementation.settle()
    for share in SHARES:
        reader, places = archive.readers[share]
        hits = wanted = 0
        for vector in QUESTIONS:
            nearest = archive.nearest(places, vector, SHOWN)
            found = await find(implementation.index, reader, ask(vector))
            assert len(found) == len(nearest)
            hits += len(set(found) & set(nearest))
            wanted += len(nearest)
        assert hits >= 0.95 * wanted, share


async def test_they_come_nearest_first_with_their_similarity(
    implementation: Implementation, archive: Archive
) -> None:
    await implementation.settle()
    reader, places = archive.readers[0.01]
    found = await implementation.index.find_nearest(reader, ask(QUESTIONS[0]), SHOWN)
    assert list(found) == archive.nearest(places, QUESTIONS[0], SHOWN)
    for chunk_id, similarity in found.items():
        vector = archive.vectors[archive.chunk_ids.index(chunk_id)]
        assert similarity == pytest.approx(float(vector @ QUESTIONS[0]), abs=0.002)


async def test_only_what_is_asked_for_is_searched(
    implementation: Implementation, archive: Archive, database: Database
) -> None:
    async with database.transaction(archive.owner) as transaction:
        collection_id = await rows.insert_collection(transaction, archive.owner)
        await transaction.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id)"
            " SELECT current_tenant(), $1, unnest($2::uuid[])",
            collection_id,
            archive.document_ids[:40],
        )
    await implementation.settle()
    for question in (
        ask(QUESTIONS[0], collection_ids=[collection_id]),
        ask(QUESTIONS[0], document_ids=archive.document_ids[:40]),
    ):
        found = await find(implementation.index, archive.owner, question)
        assert found == archive.nearest(np.arange(40), QUESTIONS[0], SHOWN)


async def test_only_what_passes_the_filter_is_found_and_all_of_that(
    implementation: Implementation, archive: Archive, database: Database
) -> None:
    async with database.transaction(archive.owner) as transaction:
        collection_id = await rows.insert_collection(transaction, archive.owner)
        await transaction.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id, attributes)"
            " SELECT current_tenant(), $1, d.id, jsonb_build_object('place', d.place)"
            " FROM unnest($2::uuid[]) WITH ORDINALITY AS d (id, place)",
            collection_id,
            archive.document_ids,
        )
    await implementation.settle()
    for few in (4, 80):
        question = ask(
            QUESTIONS[0],
            collection_ids=[collection_id],
            condition=Comparison("lte", "place", float(few)),
        )
        found = await find(implementation.index, archive.owner, question)
        assert found == archive.nearest(np.arange(few), QUESTIONS[0], SHOWN)


async def test_what_is_found_is_what_may_be_found(
    implementation: Implementation,
    database: Database,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
) -> None:
    await register_model(database_urls.migration, *SMALL)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    async with database.transaction(ann) as transaction:
        documents, collections = await World(transaction, ann, bob, 5).fill()
    await implementation.settle()
    vector = np.eye(8, dtype=np.float32)[0]
    for question in (
        ask(vector, model_name=SMALL[0]),
        ask(vector, collection_ids=collections, model_name=SMALL[0]),
        ask(vector, document_ids=documents, model_name=SMALL[0]),
        ask(vector, documents[:15], collections[:3], model_name=SMALL[0]),
    ):
        async with database.transaction(bob) as transaction:
            query = question.query
            allowed = await transaction.fetch(
                _ALLOWED, query.collection_ids, query.document_ids, query.is_everywhere
            )
        found = await find(implementation.index, bob, question, limit=300)
        assert set(found) == {row[0] for row in allowed}


async def test_other_tenants_vectors_are_not_in_the_way(
    implementation: Implementation,
    archive: Archive,
    database: Database,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
) -> None:
    other = await fill_archive(database, database_urls, make_scope, documents=100)
    await implementation.settle()
    for one in (archive, other):
        places = np.arange(len(one.chunk_ids))
        for vector in QUESTIONS[:3]:
            found = await find(implementation.index, one.owner, ask(vector))
            assert len(found) == SHOWN
            assert set(found) <= set(one.chunk_ids)
            assert len(set(found) & set(one.nearest(places, vector, SHOWN))) >= SHOWN - 1


async def test_what_is_taken_away_is_not_found_from_that_commit_on(
    implementation: Implementation, archive: Archive, database: Database
) -> None:
    await implementation.settle()
    question, reader = ask(QUESTIONS[0]), archive.readers[1.0][0]
    everything = np.arange(len(archive.chunk_ids))
    nearest = archive.nearest(everything, QUESTIONS[0], 2 * SHOWN)
    places = [archive.chunk_ids.index(chunk_id) for chunk_id in nearest]
    # Nothing is brought anywhere in between.
    async with database.transaction(archive.owner) as transaction:
        await transaction.execute(
            "UPDATE grants SET ended_at = now(), ending = 'revoked' WHERE user_id = $1 AND document_id = ANY($2)",
            reader.principal_id,
            [archive.document_ids[place] for place in places[:5]],
        )
        await transaction.execute(
            "UPDATE documents SET deleted_at = now(), purge_at = now() WHERE id = $1",
            archive.document_ids[places[5]],
        )
        await transaction.execute("DELETE FROM chunks WHERE id = ANY($1)", nearest[6:9])
    found = await find(implementation.index, reader, question)
    assert len(found) == SHOWN
    assert not set(found) & set(nearest[:9])
    assert len(set(found) & set(nearest[9 : 9 + SHOWN])) >= SHOWN - 1
    await implementation.settle()
    assert set(await find(implementation.index, reader, question)) == set(found)


async def test_what_comes_is_found_once_it_has_settled(
    implementation: Implementation, archive: Archive, database: Database
) -> None:
    await implementation.settle()
    async with database.transaction(archive.owner) as transaction:
        await fill(transaction, QUESTIONS[:1])
    await implementation.settle()
    found = await implementation.index.find_nearest(archive.owner, ask(QUESTIONS[0]), SHOWN)
    chunk_id, similarity = next(iter(found.items()))
    assert chunk_id > max(archive.chunk_ids)
    assert similarity == pytest.approx(1.0, abs=0.002)


async def test_vectors_of_different_models_are_never_compared(
    implementation: Implementation,
    archive: Archive,
    database: Database,
    database_urls: DatabaseUrls,
) -> None:
    await register_model(database_urls.migration, "other", MODEL[1])
    async with database.transaction(archive.owner) as transaction:
        await transaction.execute(
            "INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)"
            " SELECT m.id, e.chunk_id, e.tenant_id, e.blob_id, $1::text::halfvec"
            " FROM chunk_embeddings AS e CROSS JOIN embedding_models AS m"
            " WHERE m.name = 'other' AND e.chunk_id = ANY($2)",
            str(QUESTIONS[0].tolist()),
            archive.chunk_ids[:30],
        )
    await implementation.settle()
    first = archive.nearest(np.arange(len(archive.chunk_ids)), QUESTIONS[0], 1)
    found = await find(implementation.index, archive.owner, ask(QUESTIONS[0]))
    assert found[:1] == first
    other = await implementation.index.find_nearest(
        archive.owner, ask(QUESTIONS[0], model_name="other"), SHOWN
    )
    assert set(other) <= set(archive.chunk_ids[:30])
    assert list(other.values()) == pytest.approx([1.0] * SHOWN, abs=0.002)
    assert not await find(
        implementation.index, archive.owner, ask(QUESTIONS[0], model_name="unregistered")
    )
    assert not await find(
        implementation.index, archive.owner, ask(np.full(4, 0.5, dtype=np.float32))
    )
