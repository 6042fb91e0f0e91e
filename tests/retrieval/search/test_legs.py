"""The two legs inside PostgreSQL: BM25 by the book, odd words as mere words, and indexes that are really used."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from tests import rows
from tests.conftest import MakeScope, Member
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.chunking import Chunk
from undercroft.retrieval.index.models import SealedChunk
from undercroft.retrieval.index.repository import IndexRepository
from undercroft.retrieval.search.repository import SearchRepository

IDS = IdSource()
SEARCH = SearchRepository()
WORDS = [
    f"{first}{second}"
    for first in ("bar", "fen", "hul", "mol", "tor")
    for second in ("dak", "gim", "nop", "wiz")
]
SEEDED = 20_000
TINY = ("tiny", 8)


async def shelve(database: Database, scope: Member, texts: Sequence[str]) -> UUID:
    """A collection of one document whose chunks these texts are, inserted as the indexer does; without vectors."""
    index = IndexRepository()
    chunks = [
        SealedChunk(Chunk(ordinal, 0, len(text), None, (), 1), b"", text)
        for ordinal, text in enumerate(texts)
    ]
    async with database.transaction(scope) as transaction:
        blob_id = await rows.insert_blob(transaction, scope)
        document_id = await rows.insert_document(transaction, scope, blob_id)
        ids = await index.allocate_chunk_ids(transaction, len(chunks))
        await index.insert_chunks(transaction, blob_id, "english", ids, chunks)
        collection_id = await rows.insert_collection(transaction, scope)
        await transaction.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id) VALUES ($1, $2, $3)",
            scope.tenant_id,
            collection_id,
            document_id,
        )
    return collection_id


async def lexical(
    database: Database, scope: Member, collection_id: UUID, query: str, candidates: int = 20_000
) -> dict[int, float]:
    """Ordinals of the proposed chunks, best first, with their scores."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT c.ordinal, s.score FROM search_lexical($1, '{}', false, NULL, $2, $3, 2000, 300) AS s"
            " JOIN chunks AS c ON c.id = s.chunk_id",
            [collection_id],
            query,
            candidates,
        )
        proposed = await SEARCH.search_lexical(
            transaction, [collection_id], query, candidate_limit=candidates, limit=300
        )
        places = {
            row["id"]: row["ordinal"]
            for row in await transaction.fetch("SELECT id, ordinal FROM chunks")
        }
    scores = {row["ordinal"]: row["score"] for row in rows}
    return {places[chunk_id]: scores[places[chunk_id]] for chunk_id in proposed}


async def lexemes(database: Database, scope: Member, texts: Sequence[str]) -> list[Counter[str]]:
    """The terms of each text and how often they occur, as PostgreSQL reads them."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT ARRAY(SELECT lexeme FROM unnest(v) AS w, unnest(w.positions)) AS terms"
            " FROM unnest($1::text[]) WITH ORDINALITY AS t (text, place), to_tsvector('english', t.text) AS v"
            " ORDER BY t.place",
            texts,
        )
    return [Counter(row["terms"]) for row in rows]


def bm25(documents: Sequence[Counter[str]], query: Counter[str]) -> dict[int, float]:
    """Okapi BM25 with k1 = 1.6, b = 0.75 and an idf above zero, of every document with any of the query's terms."""
    average = sum(document.total() for document in documents) / len(documents)
    scores: dict[int, float] = {}
    for number, document in enumerate(documents):
        score = 0.0
        for term, occurrences in query.items():
            containing = sum(term in other for other in documents)
            if term not in document:
                continue
            idf = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            length = 1 - 0.75 + 0.75 * document.total() / average
            score += occurrences * idf * document[term] * 2.6 / (document[term] + 1.6 * length)
        if score:
            scores[number] = score
    return scores


async def test_the_lexical_leg_scores_and_ranks_like_bm25(
    database: Database, make_scope: MakeScope
) -> None:
    draw = random.Random(20)
    ann = await make_scope()
    weights = [1 / (place + 1) for place in range(len(WORDS))]
    texts = [
        "The " + " and the ".join(draw.choices(WORDS, weights, k=draw.randint(2, 40)))
        for _ in range(120)
    ]
    collection_id = await shelve(database, ann, texts)
    documents = await lexemes(database, ann, texts)
    for _ in range(12):
        words = [*draw.choices(WORDS, k=draw.randint(1, 5)), "the", "unheardof"]
        (query,) = await lexemes(database, ann, [" ".join(words)])
        found = await lexical(database, ann, collection_id, " ".join(words))
        expected = bm25(documents, query)
        assert found.keys() == expected.keys()
        ordinals = sorted(expected)
        assert np.allclose(
            [found[ordinal] for ordinal in ordinals],
            [expected[ordinal] for ordinal in ordinals],
            rtol=1e-4,
        )
        ranked = [expected[ordinal] for ordinal in found]
        assert all(better >= worse - 1e-4 for better, worse in pairwise(ranked))


async def test_statistics_of_other_tenants_do_not_count(
    database: Database, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    texts = ["bardak fengim", "bardak hulnop", "molwiz"]
    collection_id = await shelve(database, ann, texts)
    before = await lexical(database, ann, collection_id, "bardak fengim")
    await shelve(database, stranger, ["fengim"] * 50)
    assert await lexical(database, ann, collection_id, "bardak fengim") == before


async def test_rare_words_propose_first_and_every_word_scores(
    database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    texts = ["bardak rare", "bardak", "bardak bardak", "molwiz"]
    collection_id = await shelve(database, ann, texts)
    everything = await lexical(database, ann, collection_id, "bardak rare")
    assert set(everything) == {0, 1, 2}
    for candidates in (1, 3):
        bounded = await lexical(database, ann, collection_id, "bardak rare", candidates)
        assert bounded == {0: everything[0]}, "the common word scores what the rare one proposed"
    assert await lexical(database, ann, collection_id, "bardak rare", 4) == everything


async def test_a_word_that_occurs_nowhere_takes_nothing_away(
    database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection_id = await shelve(database, ann, ["bardak", "fengim"])
    alone = await lexical(database, ann, collection_id, "bardak")
    assert await lexical(database, ann, collection_id, "bardak unheardof qwrtk") == alone != {}
    assert await lexical(database, ann, collection_id, "unheardof") == {}
    assert await lexical(database, ann, collection_id, "the of and") == {}
    assert await lexical(database, ann, collection_id, "") == {}


NASTY = [
    "O'Brien's \\ back\\slash",
    "c:\\users\\o'brien\\file.txt",
    "/usr/lib/o''brien/it\\'s",
    'http://example.org/a\'b\\c?d="e"&f|g!h:*',
    "a & b | !c <-> (d) :* 'e' \\",
    "'; DROP TABLE chunks; --",
    "$$ $1 %s {} \x01 \x7f",
    "ann.o'hara+x@example.org",
    "🦆👩\u200d👩\u200d👧 \u202e鴨 دجاجة ǅ ﬁ",
    "1e308 -0.0 1.2.3.4 <b attr='x'>tag</b>",
    "w" * 3000 + " word",
    ("'\\" * 1000 + " quoted ") * 2,
]


async def test_odd_texts_are_found_by_themselves(database: Database, make_scope: MakeScope) -> None:
    ann = await make_scope()
    collection_id = await shelve(database, ann, NASTY)
    documents = await lexemes(database, ann, NASTY)
    for ordinal, text in enumerate(NASTY):
        found = await lexical(database, ann, collection_id, text)
        assert (ordinal in found) is bool(documents[ordinal]), text[:60]


async def test_no_query_of_4096_characters_is_an_error(
    database: Database, make_scope: MakeScope
) -> None:
    draw = random.Random(4096)
    ann = await make_scope()
    collection_id = await shelve(database, ann, NASTY)
    alphabet = "ab'\"\\&|!():*<->$%_{}[]@#/.,;-+=~`^?0 1\t\n🦆鴨\u202e\x01"
    for _ in range(20):
        query = "".join(draw.choices(alphabet, k=4096))
        await lexical(database, ann, collection_id, query)
    many = " ".join(f"{number:x}" for number in range(800))
    await lexical(database, ann, collection_id, many)


@pytest.fixture
async def seeded(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> tuple[Member, UUID]:
    """A tenant with 20,000 chunks of 200 documents in one collection, as many vectors of a tiny model, and a scope."""
    ann = await make_scope()
    await register_model(database_urls.migration, *TINY)
    collection_id = IDS.new()
    async with database.transaction(ann) as transaction:
        await rows.insert_key(transaction, ann)
        await transaction.execute(_SEED.replace("COLLECTION", str(collection_id)))
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute("ANALYZE")
    finally:
        await owner.close()
    return ann, collection_id


async def test_the_indexes_are_used_on_a_large_table(
    seeded: tuple[Member, UUID], database: Database
) -> None:
    ann, collection_id = seeded
    vector = np.full(TINY[1], TINY[1] ** -0.5, dtype=np.float32)
    found: list[Mapping[int, float]] = []

    async def search(exact_limit: int | None) -> Mapping[str, int]:
        before = await _scans(database)
        async with database.transaction(ann) as transaction:
            if exact_limit is None:
                chunks = await SEARCH.search_lexical(
                    transaction,
                    [collection_id],
                    "rare word12 word7",
                    candidate_limit=20_000,
                    limit=100,
                )
                assert chunks
            else:
                nearest = await SEARCH.search_vector(
                    transaction,
                    ann,
                    [collection_id],
                    TINY[0],
                    vector,
                    exact_limit=exact_limit,
                    limit=20,
                    reach=None if exact_limit else 3,
                )
                found.append(nearest)
            await transaction.execute("SELECT pg_stat_force_next_flush()")
        after = await _scans(database)
        return {name: after[name] - before[name] for name in after}

    lexical_scans = await search(None)
    assert lexical_scans["chunks_by_lexeme"] == 1
    assert lexical_scans["chunks"] == 0, "chunks were scanned sequentially"
    approximate = await search(0)
    assert approximate["chunk_embeddings_hnsw_1"] > 0
    exact = await search(SEEDED)
    assert exact["chunk_embeddings_hnsw_1"] == 0
    approximately, exactly = found
    # By how near they are: several passages are equally near, and either path may name any of these.
    last = min(exactly.values()) - 1e-6
    assert sum(nearness >= last for nearness in approximately.values()) >= 18, "both find the same"


async def _scans(database: Database) -> dict[str, int]:
    """How often each index, and each table sequentially, was scanned so far."""
    async with database.transaction_without_scope() as transaction:
        rows = await transaction.fetch(
            "SELECT indexrelname AS name, idx_scan AS scans FROM pg_stat_user_indexes"
            " UNION ALL SELECT relname, seq_scan FROM pg_stat_user_tables"
        )
    return {row["name"]: row["scans"] for row in rows}


_SEED = """
INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name)
SELECT 'COLLECTION', tenant_id, current_principal(), id, '' FROM data_keys;
CREATE TEMPORARY TABLE seed ON COMMIT DROP AS
SELECT n, gen_random_uuid() AS blob_id, gen_random_uuid() AS document_id FROM generate_series(0, 199) AS n;
INSERT INTO blobs (
    id, tenant_id, owner_id, digest, byte_size, media_type, index_state, data_key_id, sealed_sha256, stored_name
)
SELECT
    blob_id, tenant_id, current_principal(), sha256(n::text::bytea), 1, 'text/plain', 'indexed', id, '',
    sha256(n::text::bytea)
FROM seed, data_keys;
INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)
SELECT document_id, tenant_id, current_principal(), 'user_data', id, '' FROM seed, data_keys;
INSERT INTO document_versions (tenant_id, document_id, number, blob_id)
SELECT current_tenant(), document_id, 1, blob_id FROM seed;
INSERT INTO collection_documents (tenant_id, collection_id, document_id)
SELECT current_tenant(), 'COLLECTION', document_id FROM seed;
INSERT INTO chunks (
    tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, lexemes, terms
)
SELECT
    current_tenant(), seed.blob_id, s.number, 0, char_length(t.text), '', 1,
    to_tsvector('english', t.text), '{1:1}/1000000000'::sparsevec
FROM generate_series(0, 19999) AS s (number)
JOIN seed ON seed.n = s.number % 200
CROSS JOIN LATERAL (
    SELECT concat_ws(
        ' ', 'common', 'word' || s.number % 500, 'word' || s.number % 37, CASE WHEN s.number % 4000 = 0 THEN 'rare' END
    ) AS text
) AS t;
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT
    1, c.id, c.tenant_id, c.blob_id,
    l2_normalize((SELECT array_agg(sin(i * c.id)) FROM generate_series(1, 8) AS i)::real[]::vector::halfvec)
FROM chunks AS c WHERE c.id % 4 = 0;
"""


async def test_searches_at_once_do_not_disturb_each_other(
    database: Database, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    shelves = {
        ann.tenant_id: (ann, await shelve(database, ann, ["bardak fengim"])),
        bob.tenant_id: (bob, await shelve(database, bob, ["bardak", "bardak hulnop"])),
    }
    expected = {
        tenant: await lexical(database, scope, collection, "bardak")
        for tenant, (scope, collection) in shelves.items()
    }
    answers = await asyncio.gather(
        *(
            lexical(database, scope, collection, "bardak")
            for _ in range(10)
            for scope, collection in shelves.values()
        )
    )
    assert answers == [expected[tenant] for _ in range(10) for tenant in shelves]
