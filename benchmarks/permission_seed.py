"""A tenant of many documents and grants, written by SQL: a passage each, their vectors near a few thousand topics."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt

from undercroft.kit.crypto.aead import KEY_BYTES, seal
from undercroft.kit.sql import AnyConnection
from undercroft.retrieval.passages import PassagePlace, PassageText, seal_passage
from undercroft.vault.access import document_name_place
from undercroft.vault.keys.service import data_key_context

SELECTIVITIES: Final = (0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 0.02, 0.05, 0.2)
TOPICS: Final = 2_000
_SPREAD: Final = 0.8
"""How far a passage is from its topic, in the topic's length: then two of one topic have a cosine of about 0.6."""
_COPIED_ROWS: Final = 10_000
_READERS: Final = 1 << 16
_OTHERS: Final = 1 << 17
_OTHER_COUNT: Final = 500
_COLLECTIONS: Final = 1 << 18
_DOCUMENTS: Final = 1 << 32
_GRANTS: Final = 1 << 48
# Triggers look at each row that these get: at consents, webhooks and quotas, of which there are none here.
_SPARED: Final = ("users", "blobs", "documents", "collection_documents", "grants")
_TABLES: Final = (
    *_SPARED, "tenant_keys", "data_keys", "document_versions", "chunks", "chunk_embeddings", "collections",
    "term_statistics", "corpus_statistics",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shared:
    """So many documents of one user's, each granted to another."""

    owner_id: UUID
    grantee_id: UUID
    documents: int


@dataclass(frozen=True, slots=True)
class Seed:
    """What to write, and for whom.

    Attributes:
        owner_id: Whose the documents are that are nobody else's.
        tenant_key: What wraps their keys.
        shared: What is to be granted to the callers, of owners of their own.
        grants: How many grants there are to be in all; the others' are spread over users of their own.
        model: The embedding model's name.
    """

    tenant_id: UUID
    owner_id: UUID
    tenant_key: bytes = field(repr=False)
    shared: Sequence[Shared]
    documents: int
    grants: int
    model: str
    dimensions: int


def document_id(number: int) -> UUID:
    """Of the document, its content and its key; numbered from 1."""
    return UUID(int=_DOCUMENTS + number)


def chunk_id(number: int) -> int:
    """Of the document's only passage."""
    return _DOCUMENTS + number


def number_of(document: UUID) -> int:
    """Which of them a document is; 0 or less, or more than there are, of one that is not among them."""
    return document.int - _DOCUMENTS


def reader_id(place: int) -> UUID:
    """The user whose only grant is on the collection with so large a share of the documents."""
    return UUID(int=_READERS + place)


def collection_id(place: int) -> UUID:
    """The collection with so large a share of the documents."""
    return UUID(int=_COLLECTIONS + place)


def draw_vectors(count: int, dimensions: int, draw: np.random.Generator) -> npt.NDArray[np.float16]:
    """Unit vectors, each near one of the topics; the same topics every time."""
    topics = np.random.default_rng(0).normal(size=(TOPICS, dimensions)).astype(np.float32)
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)
    noise = draw.normal(scale=_SPREAD / dimensions**0.5, size=(count, dimensions))
    vectors = topics[draw.integers(TOPICS, size=count)] + noise.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


async def write(url: str, seed: Seed) -> npt.NDArray[np.float16]:
    """Write it all as the database's owner, unless it is there; the documents' vectors, in order."""
    vectors = draw_vectors(seed.documents, seed.dimensions, np.random.default_rng(1))
    owner = await asyncpg.connect(url)
    try:
        await _lift_rules(owner)
        if not await owner.fetchval(
            "SELECT EXISTS (SELECT FROM documents WHERE id = $1)", document_id(1)
        ):
            await owner.execute(_NUMBERED)
            await _write_documents(owner, seed)
            await _write_vectors(owner, seed, vectors)
            await _write_collections(owner, seed)
            await _write_grants(owner, seed)
            await owner.execute("VACUUM (ANALYZE)")
        await _restore_rules(owner)
    finally:
        await owner.close()
    return vectors


async def _lift_rules(owner: AnyConnection) -> None:
    for table in _TABLES:
        await owner.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    for table in _SPARED:
        await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")


async def _restore_rules(owner: AnyConnection) -> None:
    for table in _SPARED:
        await owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    for table in _TABLES:
        await owner.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


async def _write_documents(owner: AnyConnection, seed: Seed) -> None:
    users = [*map(reader_id, range(len(SELECTIVITIES)))]
    users += [UUID(int=_OTHERS + number) for number in range(_OTHER_COUNT)]
    await owner.execute(_USERS, seed.tenant_id, users)
    await owner.execute(
        _SEED,
        seed.tenant_id,
        seed.owner_id,
        seed.documents,
        _DOCUMENTS,
        [shared.owner_id for shared in seed.shared],
        [shared.documents for shared in seed.shared],
    )
    await owner.execute(_SEALED_TABLE)
    await owner.copy_records_to_table("sealed", records=_seal(seed), columns=("id", *_SEALED))
    await owner.execute(_CONTENTS)


def _seal(seed: Seed) -> Iterator[tuple[UUID, bytes, bytes, bytes]]:
    """Of each document its key, its passage and its name, as the service encrypts them."""
    for number in range(1, seed.documents + 1):
        each, material = document_id(number), os.urandom(KEY_BYTES)
        place = PassagePlace(seed.tenant_id, each, 0)
        yield (
            each,
            seal(seed.tenant_key, material, data_key_context(seed.tenant_id, each)),
            seal_passage(material, place, PassageText(f"Lease {number}.", ())),
            seal(material, b"lease.txt", document_name_place(seed.tenant_id, each)),
        )


async def _write_vectors(
    owner: AnyConnection, seed: Seed, vectors: npt.NDArray[np.float16]
) -> None:
    """Into the table first, then into the index, all at once: one by one takes many times as long."""
    model = await owner.fetchval("SELECT id FROM embedding_models WHERE name = $1", seed.model)
    await owner.set_type_codec(
        "halfvec", encoder=_render, decoder=bytes, schema="public", format="binary"
    )
    await owner.execute(f"DROP INDEX chunk_embeddings_hnsw_{model}")
    for rows in _batches(vectors, seed.tenant_id, model):
        await owner.copy_records_to_table(
            "chunk_embeddings",
            records=rows,
            columns=("model_id", "chunk_id", "tenant_id", "blob_id", "embedding"),
        )
    await owner.execute("SET maintenance_work_mem = '1GB'")
    await owner.execute("SELECT register_embedding_model($1, $2)", seed.model, seed.dimensions)


def _batches(
    vectors: npt.NDArray[np.float16], tenant_id: UUID, model: int
) -> Iterator[list[tuple[int, int, UUID, UUID, npt.NDArray[np.float16]]]]:
    for first in range(0, len(vectors), _COPIED_ROWS):
        numbered = enumerate(vectors[first : first + _COPIED_ROWS], first + 1)
        yield [(model, _DOCUMENTS + n, tenant_id, document_id(n), row) for n, row in numbered]


def _render(vector: npt.NDArray[np.float16]) -> bytes:
    """As pgvector's halfvec receives it: the number of dimensions, an unused field, half-precision floats."""
    return np.array([len(vector), 0], ">i2").tobytes() + vector.astype(">f2").tobytes()


async def _write_collections(owner: AnyConnection, seed: Seed) -> None:
    for place, share in enumerate(SELECTIVITIES):
        count = max(1, round(seed.documents * share))
        ids = (seed.tenant_id, seed.owner_id, collection_id(place))
        await owner.execute(_COLLECTION, *ids, _DOCUMENTS)
        await owner.execute(_MEMBERSHIPS, seed.tenant_id, collection_id(place), count)
        await owner.execute(_COLLECTION_GRANT, *ids, reader_id(place))


async def _write_grants(owner: AnyConnection, seed: Seed) -> None:
    await owner.execute(
        _GRANTS_SQL,
        seed.documents,
        _GRANTS,
        [shared.owner_id for shared in seed.shared],
        [shared.grantee_id for shared in seed.shared],
        seed.grants - sum(shared.documents for shared in seed.shared),
        _OTHERS,
        _OTHER_COUNT,
    )


_NUMBERED: Final = """
CREATE FUNCTION pg_temp.numbered(number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN lpad(to_hex(number), 32, '0')::uuid
"""
_USERS: Final = """
INSERT INTO users (id, tenant_id, email, role)
SELECT id, $1, id || '@example.org', 'member' FROM unnest($2::uuid[]) AS id
"""
# Each owner's are spread over the tables, as those of many who upload are.
_SEED: Final = """
CREATE TEMPORARY TABLE seed AS
SELECT
    $1::uuid AS tenant_id, coalesce(o.owner_id, $2::uuid) AS owner_id, n AS number, pg_temp.numbered($4 + n) AS id,
    $4 + n AS chunk_id
FROM generate_series(1, $3::bigint) AS n
LEFT JOIN (
    SELECT owner_id, sum(count) OVER earlier - count AS first, sum(count) OVER earlier AS after
    FROM unnest($5::uuid[], $6::bigint[]) WITH ORDINALITY AS o (owner_id, count, place)
    WINDOW earlier AS (ORDER BY place)
) AS o ON n * 7919 % $3::bigint >= o.first AND n * 7919 % $3::bigint < o.after
"""
_SEALED: Final = ("wrapped_key", "sealed_text", "sealed_name")
_SEALED_TABLE: Final = """
CREATE TEMPORARY TABLE sealed (id uuid PRIMARY KEY, wrapped_key bytea, sealed_text bytea, sealed_name bytea)
"""
_CONTENTS: Final = """
ANALYZE sealed;
INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)
SELECT s.id, s.tenant_id, k.id, e.wrapped_key, decode(repeat('00', 32), 'hex')
FROM seed AS s JOIN sealed AS e ON e.id = s.id JOIN tenant_keys AS k ON k.tenant_id = s.tenant_id AND k.is_current;
INSERT INTO blobs (id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256, stored_name)
SELECT id, tenant_id, owner_id, sha256(uuid_send(id)), 1, 'text/plain', id, '', sha256(uuid_send(id)) FROM seed;
INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)
SELECT s.id, s.tenant_id, s.owner_id, 'user_data', s.id, e.sealed_name FROM seed AS s JOIN sealed AS e ON e.id = s.id;
INSERT INTO document_versions (tenant_id, document_id, number, blob_id) SELECT tenant_id, id, 1, id FROM seed;
INSERT INTO chunks (id, tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, lexemes, terms)
SELECT s.chunk_id, s.tenant_id, s.id, 0, 0, 1, e.sealed_text, 1, w.words, bm25_weights(w.words, 3)
FROM seed AS s JOIN sealed AS e ON e.id = s.id
CROSS JOIN LATERAL (
    SELECT to_tsvector('english', 'lease word' || s.number % 50 || ' term' || s.number % 977) AS words
) AS w;
"""
_COLLECTION: Final = """
INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name)
VALUES ($3, $1, $2, pg_temp.numbered($4::bigint + 1), '')
"""
_MEMBERSHIPS: Final = """
INSERT INTO collection_documents (tenant_id, collection_id, document_id)
SELECT $1, $2, s.id FROM seed AS s ORDER BY sha256(uuid_send(s.id)) LIMIT $3
"""
_COLLECTION_GRANT: Final = """
INSERT INTO grants (id, tenant_id, collection_id, grantor_id, user_id, actions)
VALUES (gen_random_uuid(), $1, $3, $2, $4, '{search}')
"""
# In an order that has nothing to do with whom they are for, as grants are made over the years.
_GRANTS_SQL: Final = """
INSERT INTO grants (id, tenant_id, document_id, grantor_id, user_id, actions)
SELECT
    pg_temp.numbered($2::bigint + row_number() OVER (ORDER BY hashint8extended(w.n, 0))), s.tenant_id, s.id, s.owner_id,
    w.user_id, '{search,read}'
FROM (
    SELECT g.grantee_id AS user_id, o.number, o.number AS n
    FROM unnest($3::uuid[], $4::uuid[]) AS g (owner_id, grantee_id)
    JOIN seed AS o ON o.owner_id = g.owner_id
    UNION ALL
    SELECT pg_temp.numbered($6::bigint + n % $7::bigint), 1 + abs(hashint8extended(n, 7) % $1::bigint), n
    FROM generate_series(1, $5::bigint) AS n
) AS w
JOIN seed AS s ON s.number = w.number
"""
