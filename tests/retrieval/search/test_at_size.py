"""Search where there is much: what is found of what the caller may search, and how much is read to find it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt
import pytest

from tests import rows
from tests.conftest import MakeScope, Member
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.retrieval.halfvec import render_vector

MODEL = ("topical", 32)
DOCUMENTS = 3_000
TOPICS = 60
SHARES = (0.001, 0.01, 0.1, 1.0)
SHOWN = 10
IDS = IdSource()
_VECTOR = "search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int, int)"


@dataclass(frozen=True, slots=True)
class Library:
    """Documents of one passage each, all of them one person's.

    Attributes:
        chunk_ids: Of the documents, in their order, as everything below.
        readers: Who was granted so large a share of the documents, and which ones.
    """

    owner: Member
    collection_id: UUID
    chunk_ids: Sequence[int]
    vectors: npt.NDArray[np.float32]
    readers: Mapping[float, tuple[Member, npt.NDArray[np.int64]]]

    def nearest(self, places: npt.NDArray[np.int64], vector: npt.NDArray[np.float32]) -> set[int]:
        """The chunks that an exact search over these documents finds."""
        order = np.argsort(-(self.vectors[places] @ vector), kind="stable")[:SHOWN]
        return {self.chunk_ids[place] for place in places[order]}


def draw_vectors(count: int, draw: np.random.Generator) -> npt.NDArray[np.float32]:
    """Near topics, as texts are: among directions that have nothing in common no index finds its way."""
    topics = np.random.default_rng(0).normal(size=(TOPICS, MODEL[1]))
    vectors = topics[draw.integers(TOPICS, size=count)] + draw.normal(size=(count, MODEL[1])) * 0.6
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


_SEED = """
CREATE TEMPORARY TABLE seed ON COMMIT DROP AS
SELECT
    s.id, s.n, s.embedding::halfvec AS embedding, current_tenant() AS tenant_id, current_principal() AS owner_id,
    (SELECT min(k.id::text)::uuid FROM data_keys AS k) AS key_id
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS s (id, embedding, n)
"""
_ROWS = """
INSERT INTO blobs (id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256, stored_name)
SELECT id, tenant_id, owner_id, sha256(uuid_send(id)), 1, 'text/plain', key_id, '', sha256(uuid_send(id)) FROM seed;
INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)
SELECT id, tenant_id, owner_id, 'user_data', key_id, '' FROM seed;
INSERT INTO document_versions (tenant_id, document_id, number, blob_id) SELECT tenant_id, id, 1, id FROM seed;
INSERT INTO chunks (tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, lexemes, terms)
SELECT tenant_id, id, 0, 0, 1, '', 1, to_tsvector('english', 'common word' || n % 50), '{1:1}/1000000000' FROM seed;
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT m.id, c.id, c.tenant_id, c.blob_id, s.embedding
FROM seed AS s JOIN chunks AS c ON c.blob_id = s.id JOIN embedding_models AS m ON m.name = 'topical'
"""
MEMBERSHIPS = """
INSERT INTO collection_documents (tenant_id, collection_id, document_id) SELECT tenant_id, $1, id FROM seed
"""
GRANTS = """
INSERT INTO grants (id, tenant_id, document_id, grantor_id, user_id, actions)
SELECT gen_random_uuid(), current_tenant(), id, current_principal(), $2, '{search}' FROM unnest($1::uuid[]) AS id
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to how much is listed and compared; few, as the library is small."""

    exact: int = 100
    blobs: int = 20
    reach: int | None = 3


async def near(
    transaction: Transaction, vector: npt.NDArray[np.float32], limits: Limits, limit: int = SHOWN
) -> list[int]:
    """The chunks that the leg proposes of everything that the caller may search, nearest first."""
    found = await transaction.fetch(
        "SELECT chunk_id FROM search_vector('{}', '{}', true, NULL, $1, $2::text::halfvec, $3, $4, $5, $6)"
        " ORDER BY score DESC",
        MODEL[0],
        render_vector(vector),
        limits.exact,
        limits.blobs,
        limits.reach,
        limit,
    )
    return [row["chunk_id"] for row in found]


async def recall(
    library: Library, database: Database, limits: Limits, limit: int = SHOWN
) -> dict[float, float]:
    """Of the exact nearest that each reader may search, the part that is found."""
    shares: dict[float, float] = {}
    for share, (reader, places) in library.readers.items():
        found = wanted = 0
        async with database.transaction(reader) as transaction:
            for vector in draw_vectors(25, np.random.default_rng(2)):
                nearest = library.nearest(places, vector)
                proposed = await near(transaction, vector, limits, limit)
                found += len(nearest & set(proposed[:SHOWN]))
                wanted += len(nearest)
        shares[share] = found / wanted
    return shares


async def test_what_the_caller_may_search_is_found_however_much_it_is(
    library: Library, database: Database
) -> None:
    shares = await recall(library, database, Limits(exact=10, blobs=10))
    assert min(shares.values()) >= 0.95, shares


async def test_what_is_rare_among_the_nearest_is_compared_one_by_one(
    library: Library, database: Database, owner: AnyConnection
) -> None:
    for setting in ("hnsw.ef_search = 40", "hnsw.max_scan_tuples = 1"):
        await owner.execute(f"ALTER FUNCTION {_VECTOR} SET {setting}")
    shares = await recall(library, database, Limits(exact=400), limit=200)
    assert {shares[share] for share in SHARES if share <= 0.1} == {1.0}, shares
    # Where there is too much to compare what the index found is kept.
    reader, places = library.readers[0.1]
    async with database.transaction(reader) as transaction:
        found = await near(transaction, library.vectors[0], Limits(), limit=300)
    assert 0 < len(found) < 300
    assert set(found) <= {library.chunk_ids[place] for place in places}


async def test_the_index_is_asked_for_as_many_as_the_caller_says(
    library: Library, database: Database, owner: AnyConnection
) -> None:
    await owner.execute(f"ALTER FUNCTION {_VECTOR} SET hnsw.max_scan_tuples = 1")
    async with database.transaction(library.readers[0.1][0]) as transaction:
        found = [
            len(await near(transaction, library.vectors[0], Limits(reach=reach), limit=200))
            for reach in (1, 3)
        ]
    # One in ten of those that the index came by.
    assert 1.5 * found[0] < found[1] < 200, found


async def test_what_is_to_be_exact_asks_no_index(library: Library, database: Database) -> None:
    shares = await recall(library, database, Limits(exact=DOCUMENTS, blobs=10, reach=None))
    assert set(shares.values()) == {1.0}, shares
    async with database.transaction(library.readers[1.0][0]) as transaction:
        with pytest.raises(asyncpg.ProgramLimitExceededError):
            await near(transaction, library.vectors[0], Limits(exact=DOCUMENTS - 1, reach=None))


async def test_no_search_reads_a_table_through_or_counts_beyond_its_limit(
    library: Library, database: Database
) -> None:
    vector, limits = render_vector(library.vectors[0]), Limits()
    for searcher, collections in (
        (library.readers[1.0][0], []),
        (library.owner, [library.collection_id]),
    ):
        async with reading(database, searcher) as (transaction, read):
            words = await transaction.fetch(
                "SELECT chunk_id FROM search_lexical($1, '{}', $2, NULL, 'word7 word8', 20000, $3, $4)",
                collections,
                not collections,
                limits.blobs,
                SHOWN,
            )
            passages = await transaction.fetch(
                "SELECT chunk_id FROM search_vector($1, '{}', $2, NULL, $3, $4::text::halfvec, $5, $6, 3, $7)",
                collections,
                not collections,
                MODEL[0],
                vector,
                limits.exact,
                limits.blobs,
                SHOWN,
            )
        assert len(words) == len(passages) == SHOWN
        assert not [name for name in _LARGE if read[name][0]], read
        # What is listed, and what is looked at of some of the candidates; there are 3,000 documents.
        assert all(read[name][1] < 500 for name in _LARGE if name != "chunks"), read


async def test_what_is_listed_stands_in_indexes(
    library: Library, database: Database, owner: AnyConnection
) -> None:
    # So that the database knows that what stands there is still so.
    await owner.execute("VACUUM documents, grants")
    limits = Limits(exact=DOCUMENTS, blobs=DOCUMENTS, reach=None)
    async with reading(database, library.readers[1.0][0]) as (transaction, read):
        assert len(await near(transaction, library.vectors[0], limits)) == SHOWN
    assert read["chunk_embeddings"][1] == DOCUMENTS, "all of them are compared"
    assert read["grants"] == read["documents"] == (0, 0), read
    # Nor is a candidate's document read to find out whether it may be searched.
    async with reading(database, library.readers[1.0][0]) as (transaction, read):
        assert len(await near(transaction, library.vectors[0], Limits())) == SHOWN
    assert read["chunk_embeddings"][1] < 200, read
    assert read["documents"] == (0, 0), read


async def test_what_was_planned_while_there_was_little_reads_no_table_through_later(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope, owner: AnyConnection
) -> None:
    await register_model(database_urls.migration, *MODEL)
    ann, vectors = await make_scope(), draw_vectors(300, np.random.default_rng(1))
    async with database.transaction(ann) as transaction:
        await rows.insert_collection(transaction, ann)
        await fill(transaction, vectors[:1])
    await owner.execute("VACUUM (ANALYZE)")
    async with database.transaction(ann) as transaction:
        assert len(await near(transaction, vectors[0], Limits())) == 1
        assert len(await transaction.fetch(_WORDS)) == 1
        await fill(transaction, vectors[1:])
        before = await _read_through(transaction)
        assert len(await near(transaction, vectors[0], Limits(exact=300, blobs=300))) == SHOWN
        assert len(await transaction.fetch(_WORDS)) == SHOWN
        assert await _read_through(transaction) == before


async def fill(transaction: Transaction, vectors: npt.NDArray[np.float32]) -> list[UUID]:
    """Documents of the transaction's principal, of one passage each."""
    ids = sorted(IDS.new() for _ in vectors)
    await transaction.execute(_SEED, ids, [render_vector(vector) for vector in vectors])
    for statement in _ROWS.split(";"):
        await transaction.execute(statement)
    return ids


async def _read_through(transaction: Transaction) -> dict[str, int]:
    """How often this transaction has read each table through that grows."""
    found = await transaction.fetch("SELECT relname, seq_scan FROM pg_stat_xact_user_tables")
    return {
        row["relname"]: row["seq_scan"]
        for row in found
        if row["relname"] in {*_LARGE, "term_statistics"}
    }


_WORDS = "SELECT chunk_id FROM search_lexical('{}', '{}', true, NULL, 'common', 20000, 300, 10)"


async def test_whether_a_document_may_be_searched_is_a_few_looks_into_indexes(
    library: Library, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope(library.owner.tenant_id)
    async with database.transaction(library.owner) as transaction:
        await transaction.execute(_COLLECTION_GRANT, library.collection_id, member.principal_id)
        documents = await transaction.fetch("SELECT id FROM documents ORDER BY id LIMIT 10")
    for asker in (member, library.readers[1.0][0]):
        async with reading(database, asker) as (transaction, read):
            # As a planner that is mistaken about the costs of a large table would.
            await transaction.execute("SET LOCAL enable_nestloop = off")
            for row in documents:
                assert await transaction.fetchval("SELECT ways_to_document($1, 'search')", row[0])
        assert not [name for name in _LARGE if read[name][0]], read
        assert read["grants"][1] <= 3 * len(documents), read


_COLLECTION_GRANT = """
INSERT INTO grants (id, tenant_id, collection_id, grantor_id, user_id, actions)
VALUES (gen_random_uuid(), current_tenant(), $1, current_principal(), $2, '{search}')
"""
_LARGE = (
    "blobs",
    "chunk_embeddings",
    "chunks",
    "collection_documents",
    "document_versions",
    "documents",
    "grants",
)


@asynccontextmanager
async def reading(
    database: Database, scope: Member
) -> AsyncGenerator[tuple[Transaction, dict[str, tuple[int, int]]]]:
    """A transaction; afterwards how often it read each table through, and how many rows of it by indexes."""
    read: dict[str, tuple[int, int]] = {}
    before = await _read(database)
    async with database.transaction(scope) as transaction:
        yield transaction, read
        await transaction.execute("SELECT pg_stat_force_next_flush()")
    for name, (scans, fetched) in (await _read(database)).items():
        read[name] = (scans - before[name][0], fetched - before[name][1])


async def _read(database: Database) -> dict[str, tuple[int, int]]:
    async with database.transaction_without_scope() as transaction:
        found = await transaction.fetch(
            "SELECT relname AS name, seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE idx_scan IS NOT NULL"
        )
    return {row["name"]: (row["seq_scan"], row["idx_tup_fetch"]) for row in found}
