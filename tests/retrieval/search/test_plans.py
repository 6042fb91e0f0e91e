"""Every hot statement of a search looks into indexes, those inside of the database's functions too.

``UNDERCROFT_TEST_LIBRARY`` names the data folder of a library that ``benchmarks/bench_sizes.py`` has written, of a
million passages or as many as there are: ``make test-large``. No service may be running on it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt
import pytest

from tests import rows
from tests.conftest import Member
from tests.retrieval.search.plans import Planned, Plans, planning, superuser_url
from tests.retrieval.search.test_at_size import MODEL, Library
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.migrations import load_migrations, migrate, migrations_folder
from undercroft.kit.postgres.server import DatabaseUrls, EmbeddedPostgres
from undercroft.kit.sql import AnyConnection
from undercroft.retrieval.halfvec import read_vector
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.repository import SearchRepository

_FOLDER = os.environ.get("UNDERCROFT_TEST_LIBRARY")
_SEARCH = SearchRepository()
_SHOWN = 10
_PROPOSED = 50
_GROWN = 1_000
"""From how many rows on a table counts as one that grows."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A library to be searched.

    Attributes:
        searchers: Who searches, and the collections that they name; none for everywhere.
        compared: Up to how many passages are compared one by one.
        few: Those of the searchers who may search so little that it is listed.
    """

    urls: DatabaseUrls
    searchers: Mapping[str, tuple[Member, Sequence[UUID]]]
    few: frozenset[str]
    model: str
    vector: npt.NDArray[np.float32]
    words: str
    compared: int


async def check(searched: Searched) -> None:
    """That each statement looks into the indexes that are made for it, and reads nothing through that grows."""
    connection = await asyncpg.connect(superuser_url(searched.urls))
    try:
        found = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > $1", _GROWN
        )
    finally:
        await connection.close()
    grown = {row["relname"] for row in found}
    assert {"chunks", "chunk_embeddings", "documents", "blobs", "collection_documents"} <= grown
    async with planning(searched.urls) as plans:
        for name, (member, collections) in searched.searchers.items():
            for statement, planned in (await ask(plans, searched, member, collections)).items():
                case = (name, statement, sorted(planned.indexes))
                assert not planned.read_through(grown), (case, planned.read_through(grown))
                # Whoever may search little has neither the word nor one like it.
                assert planned.answer or statement == "spelling", case
                check_legs(case, planned, is_few=name in searched.few)
                # Of a small vocabulary any index will do.
                assert (
                    statement != "spelling"
                    or "term_statistics" not in grown
                    or "term_statistics_alike" in planned.indexes
                ), case


def check_legs(case: tuple[str, str, list[str]], planned: Planned, *, is_few: bool) -> None:
    """That a leg's candidates come out of the index that is made for them."""
    _, statement, _ = case
    nearest = [index for index in planned.indexes if index.startswith("chunk_embeddings_hnsw_")]
    if statement == "words":
        # What is little is read whole, which is quicker than to ask who else has the words.
        assert is_few or "chunks_by_lexeme" in planned.indexes, case
    elif statement == "spelling":
        assert "chunks_by_lexeme" in planned.indexes, case
        assert "chunks_tenant_id_id_key" not in planned.indexes, case
    elif statement == "nearest":
        assert bool(nearest) is not is_few, case
    elif statement == "nearest of all":
        assert not nearest, case
    if statement == "nearest of all" or (statement == "nearest" and is_few):
        assert "chunk_embeddings_by_tenant_blob" in planned.indexes, case


async def ask(
    plans: Plans, searched: Searched, member: Member, collections: Sequence[UUID]
) -> dict[str, Planned]:
    """All statements of a search, as the service makes them."""
    is_everywhere = not collections
    planned = {
        "words": await plans.of(
            member,
            lambda transaction: _SEARCH.search_lexical(
                transaction,
                collections,
                searched.words,
                candidate_limit=5_000,
                limit=_PROPOSED,
                is_everywhere=is_everywhere,
            ),
        )
    }
    for name, reach, compared in (
        ("nearest", 3, searched.compared),
        ("nearest of all", None, 2_000_000),
    ):
        planned[name] = await plans.of(
            member,
            lambda transaction, reach=reach, compared=compared: _SEARCH.search_vector(
                transaction,
                member,
                collections,
                searched.model,
                searched.vector,
                exact_limit=compared,
                limit=_PROPOSED,
                reach=reach,
                is_everywhere=is_everywhere,
            ),
        )
    chunks = list(planned["nearest"].answer)
    query = SearchQuery(collections, "", _SHOWN, is_everywhere=is_everywhere)
    first, *_ = searched.words.split()
    planned["spelling"] = await plans.of(
        member,
        lambda transaction: _SEARCH.list_similar_terms(
            transaction, query, [first, f"{first}x"], 50
        ),
    )
    planned["passages"] = await plans.of(
        member,
        lambda transaction: _SEARCH.list_passages(transaction, query, chunks[:_SHOWN], chunks),
    )
    documents = [row["document_id"] for row in planned["passages"].answer]
    planned["documents"] = await plans.of(
        member, lambda transaction: _SEARCH.list_documents(transaction, documents)
    )
    planned["chunks of documents"] = await plans.of(
        member, lambda transaction: _SEARCH.list_document_chunks(transaction, documents, 100)
    )
    if collections:
        planned["collections"] = await plans.of(
            member, lambda transaction: _SEARCH.list_collections(transaction, collections)
        )
    return planned


async def test_every_statement_of_a_search_looks_into_indexes(
    library: Library,
    owner: AnyConnection,
    database: Database,
    database_urls: DatabaseUrls,
) -> None:
    # Of a table that holds one collection's rows alone any plan reads all.
    async with database.transaction(library.owner) as transaction:
        for _ in range(10):
            other = await rows.insert_collection(transaction, library.owner)
            await transaction.execute(_OTHER_MEMBERSHIPS, other)
    await owner.execute("ANALYZE")
    everything, _ = library.readers[1.0]
    few, _ = library.readers[0.01]
    await check(
        Searched(
            database_urls,
            {
                "owner": (library.owner, []),
                "owner in a store": (library.owner, [library.collection_id]),
                "reader of all": (everything, []),
                "reader of few": (few, []),
            },
            frozenset({"reader of few"}),
            MODEL[0],
            library.vectors[0],
            "word7 word8",
            100,
        )
    )


@pytest.mark.skipif(_FOLDER is None, reason="UNDERCROFT_TEST_LIBRARY names no library")
@pytest.mark.timeout(1800)
async def test_every_statement_of_a_search_in_a_large_library_looks_into_indexes() -> None:
    async with EmbeddedPostgres(Path(_FOLDER or ""), clock=SystemClock()) as urls:
        await migrate(urls.migration, load_migrations(migrations_folder()))
        await check(await find_library(urls))


async def find_library(urls: DatabaseUrls) -> Searched:
    """Who searches in a library that was written for benchmarks, and for what."""
    connection = await asyncpg.connect(superuser_url(urls))
    try:
        first = await connection.fetch(
            "SELECT tenant_id, owner_id FROM documents ORDER BY id LIMIT 1"
        )
        tenant, person = first[0]
        readers = await connection.fetch(_READERS, tenant)
        words = await connection.fetch(_WORDS, tenant)
        vector = await connection.fetchval("SELECT embedding::text FROM chunk_embeddings LIMIT 1")
        model = await connection.fetchval("SELECT name FROM embedding_models LIMIT 1")
    finally:
        await connection.close()
    smallest, largest = readers[0], readers[-1]
    mine = Member(tenant, person, "")
    few = Member(tenant, smallest["user_id"], "")
    everything = Member(tenant, largest["user_id"], "")
    return Searched(
        urls,
        {
            "owner": (mine, []),
            "owner in a store": (mine, [largest["collection_id"]]),
            "reader of all": (everything, []),
            "reader of all in a store": (everything, [largest["collection_id"]]),
            "reader of few": (few, []),
            "reader of few in a store": (few, [smallest["collection_id"]]),
        },
        frozenset({"reader of few", "reader of few in a store"}),
        model,
        read_vector(vector),
        " ".join(row["term"] for row in words),
        1_000,
    )


_OTHER_MEMBERSHIPS = """
INSERT INTO collection_documents (tenant_id, collection_id, document_id)
SELECT tenant_id, $1, id FROM documents ORDER BY id LIMIT 300
"""
_READERS = """
SELECT g.user_id, g.collection_id
FROM grants AS g JOIN collection_documents AS m ON m.collection_id = g.collection_id
WHERE g.tenant_id = $1
GROUP BY 1, 2 ORDER BY count(*)
"""
_WORDS = """
(SELECT term FROM term_statistics WHERE tenant_id = $1 AND chunk_count BETWEEN 3 AND 30 LIMIT 1)
UNION ALL
(SELECT term FROM term_statistics WHERE tenant_id = $1 ORDER BY chunk_count DESC LIMIT 3)
"""
