"""Writes a library of any size into a tenant, in bulk: into the tables that the service fills, and as it does.

Each document and each content has a key, each passage is encrypted under its content's. Words and weights are made by
the formulas that make them for the service. The statistics of the words and the two large indexes are made afterwards,
each at once: one row after the other takes many times as long.
"""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt
import structlog

from benchmarks.permission_seed import lift_rules, render_halfvec, restore_rules
from benchmarks.size_corpus import Corpus, Passages
from undercroft.kit.crypto.aead import KEY_BYTES, seal
from undercroft.kit.sql import AnyConnection
from undercroft.retrieval.passages import PassagePlace, PassageText, seal_passage
from undercroft.vault.access import document_name_place
from undercroft.vault.keys.service import data_key_context

SHARES: Final = (0.0001, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the documents: those in a collection of which one reader each may search everything, and nothing else."""
_READERS: Final = 1 << 20
_COLLECTIONS: Final = 1 << 21
_DOCUMENTS: Final = 1 << 32
_CONTENTS: Final = 1 << 33
_AT_ONCE: Final = 10_000
_WRITERS: Final = 3
_MEMORY: Final = "3GB"
"""For the index of the vectors: of 1,000,000 it takes half as much again as they do."""

Vector = npt.NDArray[np.float16]

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Library:
    """What to write, and for whom.

    Attributes:
        owner_id: Whose all documents are.
        tenant_key: What wraps their keys.
        passages: How many there are to be.
        model: The embedding model's name.
    """

    tenant_id: UUID
    owner_id: UUID
    tenant_key: bytes = field(repr=False)
    passages: int
    model: str
    dimensions: int


def reader_id(place: int) -> UUID:
    """The user whose only grant is on the collection with so large a share of the documents."""
    return UUID(int=_READERS + place)


def collection_id(place: int) -> UUID:
    """The collection with so large a share of the documents."""
    return UUID(int=_COLLECTIONS + place)


def document_id(number: int) -> UUID:
    """Of a document and its key; numbered from 1."""
    return UUID(int=_DOCUMENTS + number)


def content_id(number: int) -> UUID:
    """Of a document's content and its key."""
    return UUID(int=_CONTENTS + number)


async def is_written(url: str) -> bool:
    """Whether the library is there, whole: what is written last are its collections."""
    owner = await asyncpg.connect(url)
    try:
        return await owner.fetchval(
            "SELECT EXISTS (SELECT FROM users WHERE id = $1)", reader_id(len(SHARES) - 1)
        )
    finally:
        await owner.close()


async def write(
    url: str, library: Library, corpus: Corpus, topic_vectors: npt.NDArray[np.float32]
) -> None:
    """Write it all as the database's owner."""
    owner = await asyncpg.connect(url)
    try:
        await owner.set_type_codec(
            "halfvec", encoder=render_halfvec, decoder=bytes, schema="public", format="binary"
        )
        await lift_rules(owner)
        await owner.execute("ALTER TABLE chunks DISABLE TRIGGER count_added")
        await owner.execute(_STAGES, library.tenant_id, library.owner_id, library.model)
        model = await owner.fetchval("SELECT model_id FROM library")
        words = await owner.fetchval("SELECT pg_get_indexdef('chunks_by_lexeme'::regclass)")
        await owner.execute(
            f"DROP INDEX chunk_embeddings_hnsw_{model}; DROP INDEX chunks_by_lexeme"
        )
        await _write_batches(
            url, library, corpus.passages(topic_vectors, library.passages, _AT_ONCE)
        )
        await owner.execute("SELECT setval('chunks_id_seq', $1)", library.passages)
        await owner.execute(_STATISTICS, library.tenant_id)
        await owner.execute("ALTER TABLE chunks ENABLE TRIGGER count_added")
        _log.info("words_counted")
        await owner.execute(f"SET maintenance_work_mem = '{_MEMORY}'")
        await owner.execute("SET max_parallel_maintenance_workers = 2")
        await owner.execute(words)
        _log.info("words_indexed")
        await owner.execute(
            "SELECT register_embedding_model($1, $2)", library.model, library.dimensions
        )
        _log.info("vectors_indexed")
        await _write_readers(owner)
        await restore_rules(owner)
        await owner.execute("VACUUM (ANALYZE)")
    finally:
        await owner.close()


async def _write_batches(url: str, library: Library, batches: Iterator[Passages]) -> None:
    """Several at a time: the most of the work is the database's, which has a process for each."""
    writers = [await _Writer.open(url, library) for _ in range(_WRITERS)]
    try:
        free = asyncio.Queue[_Writer]()
        for writer in writers:
            free.put_nowait(writer)
        first = next(batches)
        average = await writers[0].average(first)

        async def write(writer: _Writer, passages: Passages, keys: dict[int, bytes]) -> None:
            await writer.write_passages(library, passages, keys, average)
            free.put_nowait(writer)
            _log.info("passages_written", count=passages.first + len(passages.texts))

        last, keys = 0, dict[int, bytes]()
        async with asyncio.TaskGroup() as group:
            for passages in chain([first], batches):
                numbers = dict(zip(passages.documents.tolist(), passages.titles, strict=True))
                # A document may go on from the batch before.
                keys = {number: keys.get(number) or os.urandom(KEY_BYTES) for number in numbers}
                new = {number: title for number, title in numbers.items() if number > last}
                last = max(numbers)
                writer = await free.get()
                await writer.write_documents(library, new, keys)
                group.create_task(write(writer, passages, keys))
    finally:
        for writer in writers:
            await writer.connection.close()


@dataclass(frozen=True, slots=True)
class _Writer:
    """A connection of the tables' owner, with tables of its own for what comes next."""

    connection: AnyConnection

    @classmethod
    async def open(cls, url: str, library: Library) -> "_Writer":
        connection = await asyncpg.connect(url)
        await connection.set_type_codec(
            "halfvec", encoder=render_halfvec, decoder=bytes, schema="public", format="binary"
        )
        await connection.execute(_STAGES, library.tenant_id, library.owner_id, library.model)
        await connection.execute(_STAGE_TABLES)
        return cls(connection)

    async def average(self, passages: Passages) -> float:
        """How many words a passage has, as BM25 counts them, by some."""
        texts = [_searchable(passages, place) for place in range(min(1_000, len(passages.texts)))]
        return await self.connection.fetchval(_AVERAGE, texts)

    async def write_documents(
        self, library: Library, titles: dict[int, str], keys: dict[int, bytes]
    ) -> None:
        """Those that begin in a batch: one that goes on is there before the next batch."""
        records = await asyncio.to_thread(list, _seal_documents(library, titles, keys))
        await self.connection.copy_records_to_table("new_document", records=records)
        await self.connection.execute(_DOCUMENT_ROWS)

    async def write_passages(
        self, library: Library, passages: Passages, keys: dict[int, bytes], average: float
    ) -> None:
        records = await asyncio.to_thread(list, _seal_passages(library, passages, keys))
        await self.connection.copy_records_to_table("new_passage", records=records)
        async with self.connection.transaction():
            await self.connection.execute(_EMBEDDING_ROWS)
            await self.connection.execute(_CHUNK_ROWS, average)
            await self.connection.execute("TRUNCATE new_passage")


def _searchable(passages: Passages, place: int) -> str:
    return f"{passages.titles[place]}\n{passages.texts[place]}"


def _seal_documents(
    library: Library, titles: dict[int, str], keys: dict[int, bytes]
) -> Iterator[tuple[UUID, bytes, bytes, UUID, bytes]]:
    for number, title in titles.items():
        document, content, material = document_id(number), content_id(number), os.urandom(KEY_BYTES)
        yield (
            document,
            _wrap(library, document, material),
            seal(
                material,
                f"{title}.txt".encode(),
                document_name_place(library.tenant_id, document),
            ),
            content,
            _wrap(library, content, keys[number]),
        )


def _wrap(library: Library, key_id: UUID, material: bytes) -> bytes:
    return seal(library.tenant_key, material, data_key_context(library.tenant_id, key_id))


def _seal_passages(
    library: Library, passages: Passages, keys: dict[int, bytes]
) -> Iterator[tuple[int, UUID, int, bytes, int, str, Vector]]:
    for place, text in enumerate(passages.texts):
        number, ordinal = int(passages.documents[place]), int(passages.ordinals[place])
        content, searchable = content_id(number), _searchable(passages, place)
        digest = hashlib.sha256(searchable.encode()).hexdigest()
        yield (
            passages.first + place + 1,
            content,
            ordinal,
            seal_passage(
                keys[number],
                PassagePlace(library.tenant_id, content, ordinal),
                PassageText(text, (), digest=digest),
            ),
            len(text),
            searchable,
            passages.vectors[place],
        )


async def _write_readers(owner: AnyConnection) -> None:
    """A collection of each share of the documents, which were drawn by chance, and its only reader."""
    count = await owner.fetchval("SELECT count(*) FROM documents")
    for place, share in enumerate(SHARES):
        collection, reader = collection_id(place), reader_id(place)
        for statement, *values in (
            (_COLLECTION, collection),
            (_MEMBERSHIPS, collection, max(1, round(share * count))),
            (_READER, reader),
            (_COLLECTION_GRANT, collection, reader),
        ):
            await owner.execute(statement, *values)


_STAGES: Final = """
CREATE TEMPORARY TABLE library AS
SELECT $1::uuid AS tenant_id, $2::uuid AS owner_id, m.id AS model_id, k.id AS tenant_key_id
FROM embedding_models AS m JOIN tenant_keys AS k ON k.tenant_id = $1 AND k.is_current
WHERE m.name = $3
"""
_STAGE_TABLES: Final = """
CREATE TEMPORARY TABLE new_document (
    id uuid, wrapped_key bytea, sealed_name bytea, content_id uuid, wrapped_content_key bytea
);
CREATE TEMPORARY TABLE new_passage (
    id bigint, content_id uuid, ordinal int, sealed_text bytea, length int, searchable text, embedding halfvec
)
"""
_DOCUMENT_ROWS: Final = """
INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)
SELECT k.id, l.tenant_id, l.tenant_key_id, k.wrapped_key, sha256(uuid_send(k.id))
FROM (
    SELECT id, wrapped_key FROM new_document UNION ALL SELECT content_id, wrapped_content_key FROM new_document
) AS k, library AS l;
INSERT INTO blobs
(id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256, stored_name, index_state)
SELECT
    n.content_id, l.tenant_id, l.owner_id, sha256(uuid_send(n.content_id)), 10000, 'text/plain', n.content_id, '',
    sha256(uuid_send(n.content_id)), 'indexed'
FROM new_document AS n, library AS l;
INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)
SELECT n.id, l.tenant_id, l.owner_id, 'user_data', n.id, n.sealed_name FROM new_document AS n, library AS l;
INSERT INTO document_versions (tenant_id, document_id, number, blob_id)
SELECT l.tenant_id, n.id, 1, n.content_id FROM new_document AS n, library AS l;
TRUNCATE new_document
"""
_AVERAGE: Final = """
SELECT avg(term_count(to_tsvector('english', searchable)))::real FROM unnest($1::text[]) AS searchable
"""
# As insert_embeddings and insert_chunks of the service's index; the weights are those of bm25_weights, whose call for
# each passage takes several times as long as what it computes.
_EMBEDDING_ROWS: Final = """
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT l.model_id, n.id, l.tenant_id, n.content_id, n.embedding FROM new_passage AS n, library AS l
"""
_CHUNK_ROWS: Final = """
WITH passage AS MATERIALIZED (
    SELECT n.*, to_tsvector('english', n.searchable) AS lexemes FROM new_passage AS n
)
INSERT INTO chunks (
    id, tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, dictionary, lexemes, terms
)
SELECT
    p.id, l.tenant_id, p.content_id, p.ordinal, 1000 * p.ordinal, 1000 * p.ordinal + p.length, p.sealed_text,
    p.length / 4, 'english', p.lexemes, (
        SELECT (
            '{' || string_agg(
                t.place || ':' || (
                    t.frequency * 2.6
                    / (t.frequency + 1.6 * (0.25 + 0.75 * t.length / greatest($1::real, 1)))
                )::real,
                ',' ORDER BY t.place
            ) || '}/1000000000'
        )::sparsevec
        FROM (
            SELECT w.place, sum(w.frequency)::real AS frequency, sum(sum(w.frequency)) OVER ()::real AS length
            FROM (
                SELECT
                    (((hashtextextended(u.lexeme, 0) % 999999937) + 999999937) % 999999937 + 1)::int AS place,
                    cardinality(u.positions) AS frequency
                FROM unnest(p.lexemes) AS u
            ) AS w
            GROUP BY w.place
        ) AS t
    )
FROM passage AS p, library AS l
"""
# As count_added_chunks.
_STATISTICS: Final = """
WITH counted AS MATERIALIZED (
    SELECT s.word, s.ndoc, s.nentry
    FROM ts_stat(format('SELECT lexemes FROM chunks WHERE tenant_id = %L', $1::uuid)) AS s
), terms AS (
    INSERT INTO term_statistics (tenant_id, term, chunk_count) SELECT $1, c.word, c.ndoc FROM counted AS c
)
INSERT INTO corpus_statistics (tenant_id, chunk_count, term_total, weighted_average, languages)
SELECT $1, n.chunks, t.terms, t.terms::real / n.chunks, '{english}'
FROM (SELECT count(*) AS chunks FROM chunks WHERE tenant_id = $1) AS n, (SELECT sum(nentry) AS terms FROM counted) AS t
"""
_COLLECTION: Final = """
INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name)
SELECT $1, l.tenant_id, l.owner_id, (SELECT min(k.id::text)::uuid FROM data_keys AS k), '' FROM library AS l
"""
_MEMBERSHIPS: Final = """
INSERT INTO collection_documents (tenant_id, collection_id, document_id)
SELECT d.tenant_id, $1, d.id FROM documents AS d ORDER BY sha256(uuid_send(d.id)) LIMIT $2
"""
_READER: Final = """
INSERT INTO users (id, tenant_id, email, role)
SELECT $1::uuid, l.tenant_id, $1 || '@example.org', 'member' FROM library AS l
"""
_COLLECTION_GRANT: Final = """
INSERT INTO grants (id, tenant_id, collection_id, grantor_id, user_id, actions)
SELECT gen_random_uuid(), l.tenant_id, $1, l.owner_id, $2, '{search}' FROM library AS l
"""
