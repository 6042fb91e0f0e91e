"""What may be searched: listed beforehand or asked of each candidate, it is the same, and what grants say."""

import random
from dataclasses import replace
from uuid import UUID

import pytest

from tests import rows
from tests.conftest import MakeScope, Member
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls

IDS = IdSource()
MODEL = ("random", 8)
DOCUMENTS = 120
COLLECTIONS = 12
MANY_COLLECTIONS = 101
"""Open to somebody: then each membership's collection is asked for."""
LISTED, ASKED = 2_000, 0
CONDITIONS = (
    {},
    {},
    {},
    {"actions": ["read"]},
    {"ended_at": "2020-01-01", "ending": "revoked"},
    {"not_before": "2020-01-01", "expires_at": "2021-01-01"},
    {"not_before": "2120-01-01"},
    {"purpose": "audit"},
    {"purpose": "care"},
)
"""Of grants: three in nine hold, and one more for who says what it is for."""


class World:
    """Documents, collections and grants drawn by chance."""

    def __init__(self, transaction: Transaction, ann: Member, bob: Member, seed: int) -> None:
        self._transaction = transaction
        self._ann = ann
        self._bob = bob
        self._draw = random.Random(seed)

    async def fill(self) -> tuple[list[UUID], list[UUID]]:
        """Documents and collections, Bob's or Ann's, shared with him, with others and with nobody."""
        groups = [await self._group(self._bob), await self._group(self._ann)]
        grantees = [{"user_id": str(self._bob.principal_id)}, {"group_id": str(groups[0])}, {}]
        grantees += [{"user_id": str(self._ann.principal_id)}, {"group_id": str(groups[1])}]
        contents = range(DOCUMENTS * 3 // 4)
        blobs = [await rows.insert_blob(self._transaction, self._ann) for _ in contents]
        documents = [await self._document(blobs) for _ in range(DOCUMENTS)]
        collections = [
            await rows.insert_collection(self._transaction, self._somebody())
            for _ in range(COLLECTIONS)
        ]
        grants: list[UUID] = []
        for document in documents:
            count = self._draw.choice((0, 0, 1, 2))
            grants += [await self._grant("document_id", document, grantees) for _ in range(count)]
        for collection in collections:
            for _ in range(self._draw.choice((0, 1, 2))):
                await self._grant("collection_id", collection, grantees)
            for document in self._draw.sample(documents, 8):
                await self._place(collection, document, self._draw.choice((None, *grants[:20])))
        for blob in blobs:
            vector = [self._draw.gauss() for _ in range(MODEL[1])]
            await self._transaction.execute(_CHUNK, self._ann.tenant_id, blob)
            await self._transaction.execute(_EMBEDDING, blob, MODEL[0], str(vector))
        return documents, collections

    def _somebody(self) -> Member:
        return self._draw.choice((self._ann, self._ann, self._bob))

    async def _group(self, member: Member) -> UUID:
        group: UUID = await self._transaction.fetchval(
            "INSERT INTO groups (id, tenant_id, name) VALUES ($1, $2, $3) RETURNING id",
            IDS.new(),
            member.tenant_id,
            member.principal_id.hex,
        )
        await self._transaction.execute(
            "INSERT INTO group_members (tenant_id, group_id, user_id) VALUES ($1, $2, $3)",
            member.tenant_id,
            group,
            member.principal_id,
        )
        return group

    async def _document(self, blobs: list[UUID]) -> UUID:
        owner = self._somebody()
        document = await rows.insert_document(self._transaction, owner, self._draw.choice(blobs))
        match self._draw.randrange(8):
            case 0:
                await self._change(document, "deleted_at = now(), purge_at = now()")
            case 1:
                # Its chunks are made afterwards: sealing deletes those that there are.
                await self._change(document, "is_sealed = true")
            case 2:
                await self._transaction.execute(
                    "INSERT INTO document_versions (tenant_id, document_id, number, blob_id) VALUES ($1, $2, 2, $3)",
                    owner.tenant_id,
                    document,
                    self._draw.choice(blobs),
                )
                await self._change(document, "current_version = 2")
            case _:
                pass
        return document

    async def _change(self, document: UUID, change: str) -> None:
        await self._transaction.execute(f"UPDATE documents SET {change} WHERE id = $1", document)

    async def _grant(self, kind: str, thing: UUID, grantees: list[dict[str, str]]) -> UUID:
        grant_id = IDS.new()
        grant = {
            "id": str(grant_id),
            "tenant_id": str(self._ann.tenant_id),
            kind: str(thing),
            "grantor_id": str(self._ann.principal_id),
            "not_before": "2020-01-01",
            "actions": ["search"],
            **self._draw.choice(grantees),
            **self._draw.choice(CONDITIONS),
        }
        await self._transaction.execute(
            f"INSERT INTO grants ({', '.join(grant)})"
            f" SELECT {', '.join(grant)} FROM jsonb_populate_record(NULL::grants, $1::jsonb)",
            grant,
        )
        return grant_id

    async def _place(self, collection: UUID, document: UUID, grant: UUID | None) -> None:
        await self._transaction.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id, added_by, grant_id)"
            " VALUES ($1, $2, $3, $4, $5)",
            self._ann.tenant_id,
            collection,
            document,
            self._ann.principal_id,
            grant,
        )


_CHUNK = """
INSERT INTO chunks (tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, lexemes, terms)
VALUES ($1, $2, 0, 0, 1, '', 1, to_tsvector('english', 'common'), '{1:1}/1000000000')
"""
_EMBEDDING = """
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT m.id, c.id, c.tenant_id, c.blob_id, l2_normalize($3::text::halfvec)
FROM chunks AS c JOIN embedding_models AS m ON m.name = $2 WHERE c.blob_id = $1
"""
_LEXICAL = "SELECT chunk_id FROM search_lexical($1, $2, $3, NULL, 'common', 20000, $4, 1000)"
_VECTOR = """
SELECT chunk_id FROM search_vector(
    $1, $2, $3, NULL, 'random', '[1,0,0,0,0,0,0,0]', CASE WHEN $4 > 0 THEN 20000 ELSE 0 END, $4, 1000
)
"""
_ALLOWED = """
SELECT c.id
FROM documents AS d
JOIN document_versions AS v ON v.document_id = d.id AND v.number = d.current_version
JOIN chunks AS c ON c.blob_id = v.blob_id
WHERE d.deleted_at IS NULL AND NOT d.is_sealed
AND (d.owner_id = current_principal() OR ways_to_document(d.id, 'search') IS NOT NULL)
AND (
    $3 OR d.id = ANY($2)
    OR EXISTS (
        SELECT FROM collection_documents AS m
        JOIN collections AS o ON o.id = m.collection_id
        LEFT JOIN grants AS g ON g.id = m.grant_id
        WHERE m.document_id = d.id AND m.collection_id = ANY($1)
        AND (o.owner_id = current_principal() OR ways_to(o.id, 'search') IS NOT NULL)
        AND (m.grant_id IS NULL OR is_live(g) AND 'search' = ANY(g.actions))
    )
)
"""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shelves", [0, MANY_COLLECTIONS], ids=["few", "many"])
async def test_what_is_found_is_what_may_be_found_listed_or_asked(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope, seed: int, shelves: int
) -> None:
    await register_model(database_urls.migration, *MODEL)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    async with database.transaction(ann) as transaction:
        documents, collections = await World(transaction, ann, bob, seed).fill()
        for _ in range(shelves):
            await rows.insert_collection(transaction, bob)
    asked = [([], [], True), (collections, [], False), ([], documents, False)]
    asked += [
        (collections[:3], documents[:15], False),
        ([], [], False),
        (documents, collections, False),
    ]
    for purpose in (None, "audit"):
        async with database.transaction(replace(bob, purpose=purpose)) as transaction:
            for what in asked:
                allowed = await _chunks(transaction, _ALLOWED, *what)
                for leg in (_LEXICAL, _VECTOR):
                    for limit in (LISTED, ASKED):
                        assert await _chunks(transaction, leg, *what, limit) == allowed, (
                            what,
                            leg,
                            limit,
                        )


async def _chunks(transaction: Transaction, statement: str, *arguments: object) -> set[int]:
    return {row[0] for row in await transaction.fetch(statement, *arguments)}
