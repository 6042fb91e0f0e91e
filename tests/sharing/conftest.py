"""A tenant's people with things of their own to share: rows alone, as the database says whether a grant counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.models import LogScope
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    ResourceKind,
    Terms,
    Way,
)
from undercroft.sharing.policy import read_ways
from undercroft.sharing.service import GrantService
from undercroft.vault.keys.service import KeyRing

READ = Terms(frozenset({GrantAction.READ}))
SHARE = Terms(frozenset({GrantAction.READ, GrantAction.SHARE}))


@dataclass(frozen=True, slots=True)
class Office:
    """Ann owns things; Bob, Cem and Dee are her colleagues."""

    database: Database
    keys: KeyRing
    ledger: Ledger
    grants: GrantService
    ann: Member
    bob: Member
    cem: Member
    dee: Member

    async def share(
        self, giver: Member, resource: Resource, receiver: Member, terms: Terms = READ
    ) -> Grant:
        """A grant to one person."""
        return await self.grants.create(giver, resource, to(receiver), terms)

    async def ways(
        self, scope: Member, resource: Resource, action: GrantAction = GrantAction.READ
    ) -> Sequence[Way]:
        """What the database answers."""
        function = "ways_to_document" if resource.kind is ResourceKind.DOCUMENT else "ways_to"
        async with self.database.transaction(scope) as transaction:
            return read_ways(
                await transaction.fetchval(f"SELECT {function}($1, $2)", resource.id, action)
            )

    async def put_document(self, owner: Member) -> Resource:
        """A row for a document, without any bytes."""
        return await self._put(
            owner,
            ResourceKind.DOCUMENT,
            "INSERT INTO blobs (id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256,"
            " stored_name) VALUES ($1, $2, $3, sha256(uuid_send($1)), 1, 'text/plain', $4, '', sha256(uuid_send($1)))",
            "INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)"
            " VALUES ($1, $2, $3, 'user_data', $4, '')",
            "INSERT INTO document_versions (tenant_id, document_id, number, blob_id, entry_id)"
            " SELECT $2, $1, 1, $1, $3 WHERE $4::uuid IS NOT NULL",
        )

    async def put_collection(self, owner: Member) -> Resource:
        """A row for a collection."""
        return await self._put(
            owner,
            ResourceKind.COLLECTION,
            "INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name) VALUES ($1, $2, $3, $4, '')",
        )

    async def add(
        self, adder: Member, collection: Resource, document: Resource, grant: Grant | None = None
    ) -> None:
        """Put a document into a collection: its owner's will, or under a grant."""
        await self.execute(
            adder,
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id, added_by, grant_id)"
            " VALUES ($1, $2, $3, $4, $5)",
            adder.tenant_id,
            collection.id,
            document.id,
            adder.principal_id,
            grant and grant.id,
        )

    async def execute(self, scope: Member, statement: str, *arguments: object) -> None:
        """One statement in a transaction of its own."""
        async with self.database.transaction(scope) as transaction:
            await transaction.execute(statement, *arguments)

    async def denials(self) -> list[tuple[UUID, str]]:
        """Who was refused what, in order."""
        async with self.database.transaction(LogScope(self.ann.tenant_id)) as transaction:
            rows = await transaction.fetch(
                "SELECT actor_id, action FROM ledger_pending WHERE outcome = 'denied' ORDER BY xid, ordinal"
            )
        return [(row["actor_id"], row["action"]) for row in rows]

    async def make_group(self, *members: Member) -> UUID:
        """A group of these people."""
        group_id = IdSource().new()
        tenant_id = self.ann.tenant_id
        await self.execute(
            self.ann,
            "INSERT INTO groups (id, tenant_id, name) VALUES ($1, $2, $3)",
            group_id,
            tenant_id,
            group_id.hex,
        )
        for member in members:
            await self.execute(
                self.ann,
                "INSERT INTO group_members (tenant_id, group_id, user_id) VALUES ($1, $2, $3)",
                tenant_id,
                group_id,
                member.principal_id,
            )
        return group_id

    async def _put(self, owner: Member, kind: ResourceKind, *statements: str) -> Resource:
        resource_id = IdSource().new()
        async with self.database.transaction(owner) as transaction:
            key = await self.keys.create(transaction, owner)
            for statement in statements:
                await transaction.execute(
                    statement, resource_id, owner.tenant_id, owner.principal_id, key.id
                )
        return Resource(kind, resource_id)


def to(member: Member) -> Grantee:
    """One person."""
    return Grantee(GranteeKind.USER, member.principal_id)


@pytest.fixture
async def office(database: Database, tmp_path: Path, make_scope: MakeScope) -> Office:
    """Four people of one tenant."""
    return await open_office(database, tmp_path, make_scope)


async def open_office(database: Database, folder: Path, make_scope: MakeScope) -> Office:
    """Four people of a new tenant."""
    ids = IdSource()
    ann = await make_scope()
    others = [await make_scope(ann.tenant_id) for _ in range(3)]
    keys = KeyRing(await KeyFile.open(folder / "provider.key"), ids)
    ledger = Ledger(database, ids, SystemClock())
    people = IdentityService(database, ledger, ids, SystemClock())
    grants = GrantService(database, ledger, ids, people)
    return Office(database, keys, ledger, grants, ann, *others)
