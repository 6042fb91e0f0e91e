"""Permissions: what the number of grants costs a search, and how much of what is authorised the index finds.

Rows alone, seeded by SQL: one passage a document. ``PYTHONPATH=. python benchmarks/bench_permissions.py [--documents N]
[--grants N] [--callers N N N] [--rounds N]``.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt

from benchmarks.report import header, publish, summary
from tests.conftest import Member
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.migrations import (
    grant_service_role,
    load_migrations,
    migrate,
    migrations_folder,
    register_model,
)
from undercroft.kit.postgres.server import DatabaseUrls, EmbeddedPostgres
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.repository import SearchRepository

_MODEL: Final = "benchmark"
_DIMENSIONS: Final = 64
_CANDIDATES: Final = 300
_SHOWN: Final = 10
_SELECTIVITIES: Final = (0.0001, 0.001, 0.01, 0.1, 0.5, 1.0)
_TENANT: Final = UUID(int=1)
_OWNER: Final = UUID(int=2)
_FIRST_CALLER: Final = 10
_FIRST_COLLECTION: Final = 1_000
_FIRST_DOCUMENT: Final = 1 << 32
_FIRST_GRANT: Final = 1 << 48
_TABLES: Final = (
    "tenants", "users", "tenant_keys", "data_keys", "blobs", "documents", "document_versions", "chunks",
    "chunk_embeddings", "collections", "collection_documents", "grants", "term_statistics", "corpus_statistics",
)  # fmt: skip

_SEED: Final = """
CREATE FUNCTION pg_temp.numbered(number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
AS $$ SELECT lpad(to_hex(number), 32, '0')::uuid $$;
INSERT INTO tenants (id, name) VALUES (pg_temp.numbered(1), 'benchmark');
INSERT INTO users (id, tenant_id, email, role)
SELECT pg_temp.numbered(n), pg_temp.numbered(1), n || '@example.org', 'member' FROM generate_series(2, 20) AS n;
INSERT INTO tenant_keys (id, tenant_id, number, wrapped_key, is_current)
VALUES (pg_temp.numbered(3), pg_temp.numbered(1), 1, decode(repeat('00', 60), 'hex'), true);
INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)
VALUES (pg_temp.numbered(3), pg_temp.numbered(1), pg_temp.numbered(3), decode(repeat('00', 60), 'hex'),
    decode(repeat('00', 32), 'hex'));
INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)
SELECT pg_temp.numbered({first} + n), pg_temp.numbered(1), pg_temp.numbered(3), decode(repeat('00', 60), 'hex'),
    decode(repeat('00', 32), 'hex') FROM generate_series(1, {documents}) AS n;
INSERT INTO blobs (id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256, stored_name)
SELECT pg_temp.numbered({first} + n), pg_temp.numbered(1), pg_temp.numbered(2), sha256(n::text::bytea), 1, 'text/plain',
    pg_temp.numbered({first} + n), '', sha256(n::text::bytea) FROM generate_series(1, {documents}) AS n;
INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)
SELECT pg_temp.numbered({first} + n), pg_temp.numbered(1), pg_temp.numbered(2), 'user_data',
    pg_temp.numbered({first} + n), '' FROM generate_series(1, {documents}) AS n;
INSERT INTO document_versions (tenant_id, document_id, number, blob_id)
SELECT pg_temp.numbered(1), pg_temp.numbered({first} + n), 1, pg_temp.numbered({first} + n)
FROM generate_series(1, {documents}) AS n;
INSERT INTO chunks (id, tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, lexemes, terms)
SELECT n, pg_temp.numbered(1), pg_temp.numbered({first} + n), 0, 0, 1, '', 1, words,
    bm25_weights(words, 3)
FROM generate_series(1, {documents}) AS n
CROSS JOIN LATERAL (SELECT to_tsvector('english', 'lease word' || n % 50 || ' term' || n % 977) AS words) AS w;
INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name)
SELECT pg_temp.numbered({collection} + n), pg_temp.numbered(1), pg_temp.numbered(2), pg_temp.numbered(3), ''
FROM generate_series(0, {collections} - 1) AS n;
"""


async def seed(urls: DatabaseUrls, documents: int, grants: int, callers: Sequence[int]) -> None:
    await register_model(urls.migration, _MODEL, _DIMENSIONS)
    owner = await asyncpg.connect(urls.migration)
    try:
        for table in _TABLES:
            await owner.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        await owner.execute(
            _SEED.format(
                first=_FIRST_DOCUMENT,
                documents=documents,
                collection=_FIRST_COLLECTION,
                collections=len(_SELECTIVITIES),
            )
        )
        rows = np.random.default_rng(1).normal(size=(documents, _DIMENSIONS))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        model = await owner.fetchval("SELECT id FROM embedding_models WHERE name = $1", _MODEL)
        await owner.executemany(
            "INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)"
            " VALUES ($1, $2, $3, $4, $5::text::halfvec)",
            [
                (model, n, _TENANT, UUID(int=_FIRST_DOCUMENT + n), render(row))
                for n, row in enumerate(rows, 1)
            ],
        )
        for place, share in enumerate(_SELECTIVITIES):
            await owner.execute(
                "INSERT INTO collection_documents (tenant_id, collection_id, document_id)"
                " SELECT $1, $2, d.id FROM documents AS d ORDER BY sha256(uuid_send(d.id)) LIMIT $3",
                _TENANT,
                UUID(int=_FIRST_COLLECTION + place),
                max(_SHOWN, round(documents * share)),
            )
        # The last one stands for the rest of the tenant.
        first = _FIRST_GRANT
        for number, count in enumerate((*callers, grants - sum(callers))):
            await owner.execute(
                "INSERT INTO grants (id, tenant_id, document_id, grantor_id, user_id, actions)"
                " SELECT lpad(to_hex($1::bigint + n), 32, '0')::uuid, $2,"
                " lpad(to_hex($3::bigint + 1 + (n * 7919) % $4::bigint), 32, '0')::uuid, $5, $6, '{search,read}'"
                " FROM generate_series(1::bigint, $7::bigint) AS n",
                first,
                _TENANT,
                _FIRST_DOCUMENT,
                documents,
                _OWNER,
                UUID(int=_FIRST_CALLER + number),
                count,
            )
            first += count
            for place in range(len(_SELECTIVITIES)):
                await owner.execute(
                    "INSERT INTO grants (id, tenant_id, collection_id, grantor_id, user_id, actions)"
                    " VALUES (gen_random_uuid(), $1, $2, $3, $4, '{search}')",
                    _TENANT,
                    UUID(int=_FIRST_COLLECTION + place),
                    _OWNER,
                    UUID(int=_FIRST_CALLER + number),
                )
        for table in _TABLES:
            await owner.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        await owner.execute("ANALYZE")
    finally:
        await owner.close()


def render(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.4f}" for value in vector) + "]"


def draw(number: int) -> npt.NDArray[np.float32]:
    """A direction; the same for the same number."""
    vector = np.random.default_rng(number).normal(size=_DIMENSIONS)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


async def search_once(database: Database, caller: Member, query: SearchQuery, seed: int) -> float:
    """Milliseconds of both legs and the statement that authorises and reads."""
    legs = SearchRepository()
    vector = draw(seed)
    started = time.perf_counter()
    async with database.transaction(caller) as transaction:
        near = await legs.search_vector(
            transaction,
            query.collection_ids,
            _MODEL,
            vector,
            exact_limit=20_000,
            limit=_CANDIDATES,
            is_everywhere=query.is_everywhere,
        )
        words = await legs.search_lexical(
            transaction,
            query.collection_ids,
            query.text,
            candidate_limit=20_000,
            limit=_CANDIDATES,
            is_everywhere=query.is_everywhere,
        )
        chunk_ids = list(dict.fromkeys((*near, *words)))
        await legs.list_partly_shared(transaction, chunk_ids)
        assert await legs.list_passages(transaction, query, chunk_ids[:_SHOWN])
    return 1000 * (time.perf_counter() - started)


async def measure_latency(
    database: Database, callers: Sequence[int], rounds: int
) -> dict[str, Any]:
    results: dict[str, Any] = {}
    collection = UUID(int=_FIRST_COLLECTION + _SELECTIVITIES.index(0.01))
    for name in ("in_a_collection", "everywhere"):
        samples: dict[int, list[float]] = {count: [] for count in callers}
        for turn in range(rounds):
            # Alternating, so that a drift of the machine meets all alike.
            for number, count in enumerate(callers):
                query = SearchQuery(
                    (collection,) if name == "in_a_collection" else (),
                    f"word{turn % 50} term{turn % 977}",
                    _SHOWN,
                    is_everywhere=name == "everywhere",
                )
                caller = Member(_TENANT, UUID(int=_FIRST_CALLER + number), "")
                samples[count].append(await search_once(database, caller, query, turn))
        summaries = {str(count): summary(times) for count, times in samples.items()}
        medians = [each["median"] for each in summaries.values()]
        results[name] = {
            "milliseconds_by_grants_of_the_caller": summaries,
            "ratio_of_medians": round(max(medians) / min(medians), 2),
        }
    return results


async def measure_recall(database: Database, documents: int, rounds: int) -> dict[str, Any]:
    """Of the exact ten nearest within a collection, how many the index finds; exact_limit 0 has it asked always."""
    legs, caller = SearchRepository(), Member(_TENANT, UUID(int=_FIRST_CALLER), "")
    recall: dict[str, Any] = {}
    for place, share in enumerate(_SELECTIVITIES):
        collection = [UUID(int=_FIRST_COLLECTION + place)]
        found: dict[str, int] = {"as_served": 0, "index_alone": 0}
        wanted = 0
        for turn in range(rounds):
            vector = draw(1000 + turn)
            async with database.transaction(caller) as transaction:
                exact, served, index = [
                    list(
                        await legs.search_vector(
                            transaction,
                            collection,
                            _MODEL,
                            vector,
                            exact_limit=limit,
                            limit=_CANDIDATES,
                        )
                    )[:_SHOWN]
                    for limit in (documents, 20_000, 0)
                ]
            wanted += len(exact)
            found["as_served"] += len(set(exact) & set(served))
            found["index_alone"] += len(set(exact) & set(index))
        recall[f"{share:.2%}"] = {name: round(count / wanted, 3) for name, count in found.items()}
    return recall


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--grants", type=int, default=1_000_000)
    parser.add_argument("--callers", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--rounds", type=int, default=50)
    wanted = parser.parse_args()
    document = header("permissions")
    with tempfile.TemporaryDirectory(prefix="undercroft-bench-") as folder:
        server = EmbeddedPostgres(Path(folder), clock=SystemClock(), durable=False)
        async with server as urls:
            await migrate(urls.migration, load_migrations(migrations_folder()))
            await grant_service_role(urls.migration, str(urlsplit(urls.service).username))
            await seed(urls, wanted.documents, wanted.grants, wanted.callers)
            async with Database(urls.service, clock=SystemClock(), size=2) as database:
                document["seeded"] = {"documents": wanted.documents, "grants": wanted.grants}
                document["latency"] = await measure_latency(database, wanted.callers, wanted.rounds)
                document["recall"] = await measure_recall(database, wanted.documents, wanted.rounds)
    publish(document)


if __name__ == "__main__":
    asyncio.run(main())
