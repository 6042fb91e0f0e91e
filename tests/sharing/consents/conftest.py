"""A practice that keeps things about its patients: real keys, rows alone for what is kept."""

from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.records import Cabinet, open_cabinet
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.sharing.consents.models import (
    ConsentRecord,
    Notice,
    NoticeContent,
    NoticeTerms,
    Party,
)
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.consents.subjects import DataSubjects
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

READ = Terms(frozenset({GrantAction.READ}))
CONTENT = NoticeContent(
    title="Second opinion",
    text="We show your findings to another doctor, who tells us what they think.",
    language="en",
    purpose_description="A second doctor looks at what was found.",
    data_categories=("dpv-pd:HealthRecord",),
    controller=Party("Practice Dr. Ann", "ann@example.org"),
    recipients=("Dr. Cem",),
    retention="For thirty days after you agree.",
    jurisdictions=("DE", "DE-BW"),
    withdrawal="Withdraw it in the app, or write to us.",
)
TERMS = NoticeTerms(validity_days=10, retention_days=None, erases=False)
ERASING = NoticeTerms(validity_days=10, retention_days=30, erases=True)


@dataclass(frozen=True, slots=True)
class Practice:
    """Ann keeps things, some about Bob; Cem is asked for an opinion, Dee has nothing to do with it."""

    cabinet: Cabinet
    database: Database
    grants: GrantService
    notices: NoticeService
    consents: ConsentService
    subjects: DataSubjects
    ann: Member
    bob: Member
    cem: Member
    dee: Member

    async def put_document(self, *, about: Member | None = None) -> Resource:
        """A row for a document of Ann's, without any bytes."""
        document_id = IdSource().new()
        async with self.database.transaction(self.ann) as transaction:
            key = await self.cabinet.keys.create(transaction, self.ann)
            await transaction.execute(
                "INSERT INTO blobs (id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id,"
                " sealed_sha256, stored_name) VALUES ($1, $2, $3, sha256(uuid_send($1)), 1, 'text/plain', $4, '',"
                " sha256(uuid_send($1)))",
                document_id,
                self.ann.tenant_id,
                self.ann.principal_id,
                key.id,
            )
            key = await self.cabinet.keys.create(transaction, self.ann)
            await transaction.execute(
                "INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)"
                " VALUES ($1, $2, $3, 'user_data', $4, '')",
                document_id,
                self.ann.tenant_id,
                self.ann.principal_id,
                key.id,
            )
            await transaction.execute(
                "INSERT INTO document_versions (tenant_id, document_id, number, blob_id) VALUES ($1, $2, 1, $2)",
                self.ann.tenant_id,
                document_id,
            )
        resource = Resource(ResourceKind.DOCUMENT, document_id)
        if about is not None:
            await self.subjects.mark(self.ann, resource, about.email)
        return resource

    async def put_collection(self, *, about: Member | None = None) -> Resource:
        """A row for a vector store of Ann's."""
        collection_id = IdSource().new()
        async with self.database.transaction(self.ann) as transaction:
            key = await self.cabinet.keys.create(transaction, self.ann)
            await transaction.execute(
                "INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name)"
                " VALUES ($1, $2, $3, $4, '')",
                collection_id,
                self.ann.tenant_id,
                self.ann.principal_id,
                key.id,
            )
        resource = Resource(ResourceKind.COLLECTION, collection_id)
        if about is not None:
            await self.subjects.mark(self.ann, resource, about.email)
        return resource

    async def add(self, collection: Resource, document: Resource) -> None:
        """Put a document into a vector store."""
        await self.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id) VALUES ($1, $2, $3)",
            self.ann.tenant_id,
            collection.id,
            document.id,
        )

    async def publish(self, terms: NoticeTerms = TERMS, purpose: str = "second-opinion") -> Notice:
        """A notice of Ann's."""
        return await self.notices.create(self.ann, purpose, CONTENT, terms)

    async def ask(self, resource: Resource, terms: NoticeTerms = TERMS) -> ConsentRecord:
        """Ann asks for consent, with a notice of its own."""
        notice = await self.publish(terms)
        return await self.consents.ask(self.ann, notice.id, resource)

    async def agree(
        self, resource: Resource, subject: Member, terms: NoticeTerms = TERMS
    ) -> ConsentRecord:
        """Ann asks, and the subject gives."""
        asked = await self.ask(resource, terms)
        return await self.consents.give(subject, asked.consent.id, asked.notice.version)

    async def share(
        self, resource: Resource, receiver: Member, terms: Terms = READ, giver: Member | None = None
    ) -> Grant:
        """A grant to one person, by Ann unless another is named."""
        grantee = Grantee(GranteeKind.USER, receiver.principal_id)
        return await self.grants.create(giver or self.ann, resource, grantee, terms)

    async def ways(
        self,
        scope: Member,
        resource: Resource,
        action: GrantAction = GrantAction.READ,
        purpose: str | None = "second-opinion",
    ) -> tuple[Way, ...]:
        """What the database answers."""
        function = "ways_to_document" if resource.kind is ResourceKind.DOCUMENT else "ways_to"
        async with self.database.transaction(replace(scope, purpose=purpose)) as transaction:
            return read_ways(
                await transaction.fetchval(f"SELECT {function}($1, $2)", resource.id, action)
            )

    async def execute(self, statement: str, *arguments: object) -> None:
        """One statement of the practice's, in a transaction of its own."""
        async with self.database.transaction(self.ann) as transaction:
            await transaction.execute(statement, *arguments)

    async def actions(self) -> list[str]:
        """What the ledger holds, in order."""
        return [action for action, _ in await self.cabinet.actions(self.ann)]

    async def expire(self, consent_id: UUID) -> None:
        """Let a consent's validity be over."""
        await self.execute(
            "UPDATE consents SET given_at = now() - interval '2 days', valid_until = now() - interval '1 day'"
            " WHERE id = $1",
            consent_id,
        )


async def open_practice(database: Database, folder: Path, make_scope: MakeScope) -> Practice:
    """Four people of one tenant."""
    cabinet = await open_cabinet(database, folder)
    ids = IdSource()
    ann = await make_scope()
    others = [await make_scope(ann.tenant_id) for _ in range(3)]
    people = IdentityService(database, cabinet.ledger, ids, SystemClock())
    grants = GrantService(database, cabinet.ledger, ids, people)
    notices = NoticeService(database, cabinet.keys, cabinet.ledger, ids)
    consents = ConsentService(database, notices, grants, cabinet.ledger, ids)
    subjects = DataSubjects(database, grants, cabinet.ledger)
    return Practice(cabinet, database, grants, notices, consents, subjects, ann, *others)


@pytest.fixture
async def practice(database: Database, tmp_path: Path, make_scope: MakeScope) -> Practice:
    """An empty practice."""
    return await open_practice(database, tmp_path, make_scope)
