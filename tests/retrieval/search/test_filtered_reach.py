"""With a filter nothing is missed and nothing told: a document is what it is where its searcher finds it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from tests import rows
from tests.conftest import MakeScope
from tests.retrieval.filtering import passes
from tests.retrieval.search.test_reach import (
    ASKED,
    LISTED,
    MANY_COLLECTIONS,
    MODEL,
    World,
)
from undercroft.kit.database import Database, Transaction
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.filters import (
    Comparison,
    Compound,
    Filter,
    Membership,
    Value,
    render_path,
)
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.repository import SearchRepository

_ATTRIBUTES = """
UPDATE collection_documents SET attributes = jsonb_strip_nulls(jsonb_build_object(
    'shelf', (ARRAY['red', 'blue', NULL])[1 + get_byte(drawn, 0) % 3], 'year', 2020 + get_byte(drawn, 1) % 5
))
FROM (
    SELECT collection_id AS c, document_id AS d, sha256(uuid_send(document_id) || uuid_send(collection_id)) AS drawn
    FROM collection_documents
) AS s
WHERE collection_id = s.c AND document_id = s.d
"""
_FOUND_BY = """
SELECT d.id AS document, c.id AS chunk, m.collection_id AS collection, m.attributes
FROM documents AS d
JOIN chunks AS c ON c.blob_id = d.current_blob_id
LEFT JOIN LATERAL (
    SELECT m.collection_id, m.attributes
    FROM collection_documents AS m
    JOIN collections AS o ON o.id = m.collection_id
    LEFT JOIN grants AS g ON g.id = m.grant_id
    WHERE m.document_id = d.id
    AND ($3 OR d.id = ANY($2) OR m.collection_id = ANY($1))
    AND (o.owner_id = current_principal() OR ways_to(o.id, 'search') IS NOT NULL)
    AND (m.grant_id IS NULL OR is_live(g) AND 'search' = ANY(g.actions))
) AS m ON true
WHERE d.deleted_at IS NULL AND NOT d.is_sealed
AND (
    ($3 OR d.id = ANY($2))
    AND (d.owner_id = current_principal() OR ways_to_document(d.id, 'search') IS NOT NULL)
    OR m.collection_id IS NOT NULL
)
"""
"""The memberships by which whoever asks finds a document; one without a collection where there is none."""
_LEXICAL = (
    "SELECT chunk_id FROM search_lexical($1, $2, $3, $5::text::jsonpath, 'common', 20000, $4, 1000)"
)
_VECTOR = """
SELECT chunk_id FROM search_vector(
    $1, $2, $3, $5::text::jsonpath, 'random', '[1,0,0,0,0,0,0,0]', CASE WHEN $4 > 0 THEN 20000 ELSE 0 END, $4, 1000
)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a search looks."""

    collections: Sequence[UUID]
    documents: Sequence[UUID]
    everywhere: bool


def _filters(collections: Sequence[UUID], documents: Sequence[UUID]) -> list[Filter]:
    some = [str(each) for each in documents[:40]]
    return [
        Comparison("eq", "shelf", "red"),
        Comparison("ne", "shelf", "red"),
        Compound("and", [Comparison("gte", "year", 2022), Membership("nin", "shelf", ["blue"])]),
        Comparison("eq", "undercroft.collection", str(collections[0])),
        Compound(
            "or",
            [
                Membership("in", "undercroft.document", some),
                Comparison("gt", "undercroft.byte_size", 10**9),
            ],
        ),
        Comparison("eq", "shelf", "green"),
    ]


async def _expected(
    transaction: Transaction, place: Place, condition: Filter
) -> Mapping[int, set[UUID]]:
    """The chunks that are to be found, each with the documents it is found in."""
    found: defaultdict[int, set[UUID]] = defaultdict(set)
    for row in await transaction.fetch(
        _FOUND_BY, place.collections, place.documents, place.everywhere
    ):
        known: dict[str, Value] = {
            **(row["attributes"] or {}),
            "undercroft.document": str(row["document"]),
            "undercroft.byte_size": 1.0,
        }
        if row["collection"] is not None:
            known["undercroft.collection"] = str(row["collection"])
        if passes(condition, known):
            found[row["chunk"]].add(row["document"])
    return found


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shelves", [0, MANY_COLLECTIONS], ids=["few", "many"])
async def test_what_is_found_is_what_passes_where_its_searcher_finds_it(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope, seed: int, shelves: int
) -> None:
    await register_model(database_urls.migration, *MODEL)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    async with database.transaction(ann) as transaction:
        documents, collections = await World(transaction, ann, bob, seed).fill()
        await transaction.execute(_ATTRIBUTES)
        for _ in range(shelves):
            await rows.insert_collection(transaction, bob)
    places = [
        Place([], [], everywhere=True),
        Place(collections, [], everywhere=False),
        Place([], documents, everywhere=False),
        Place(collections[:3], documents[:15], everywhere=False),
    ]
    total = 0
    for purpose in (None, "audit"):
        async with database.transaction(replace(bob, purpose=purpose)) as transaction:
            for place in places:
                for condition in _filters(collections, documents):
                    expected = await _expected(transaction, place, condition)
                    total += len(expected)
                    await _check(transaction, place, condition, expected)
    assert total > 100


async def _check(
    transaction: Transaction,
    place: Place,
    condition: Filter,
    expected: Mapping[int, set[UUID]],
) -> None:
    asked = (place.collections, place.documents, place.everywhere)
    path = render_path(condition)
    for leg in (_LEXICAL, _VECTOR):
        for limit in (LISTED, ASKED):
            found = await transaction.fetch(leg, *asked, limit, path)
            assert {row["chunk_id"] for row in found} == expected.keys(), (path, leg, limit)
    query = SearchQuery(
        place.collections,
        "common",
        10,
        document_ids=place.documents,
        is_everywhere=place.everywhere,
        filter=condition,
    )
    chunks = [row["id"] for row in await transaction.fetch("SELECT id FROM chunks")]
    read: defaultdict[int, set[UUID]] = defaultdict(set)
    for row in await SearchRepository().list_passages(transaction, query, chunks):
        read[row["chunk_id"]].add(row["document_id"])
    assert read == expected, path
