"""Marking against sharing, asking and putting into vector stores: whoever is second sees the first."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from tests.conftest import Member
from tests.records import ANN, PERSON
from tests.sharing.consents.conftest import READ, Practice
from tests.stepping import until_blocked
from undercroft.kit.database import Transaction
from undercroft.kit.ids import IdSource
from undercroft.sharing.consents.errors import MixedSubjectsError
from undercroft.sharing.errors import ConsentRequiredError
from undercroft.sharing.models import Grantee, GranteeKind, Resource, ResourceKind

TABLES = {
    ResourceKind.DOCUMENT: "documents",
    ResourceKind.COLLECTION: "collections",
    ResourceKind.RECORD: "records",
}


async def put(practice: Practice, kind: ResourceKind) -> Resource:
    """Something of Ann's that may be shared: a record that is about her with her consent, the others about nobody."""
    match kind:
        case ResourceKind.DOCUMENT:
            return await practice.put_document()
        case ResourceKind.COLLECTION:
            return await practice.put_collection()
        case _:
            record = await put_record(practice, "/health")
            await practice.agree(record, practice.ann)
            return record


async def put_record(practice: Practice, *personal_fields: str) -> Resource:
    """A record of Ann's, of which these fields are personal."""
    definition = replace(PERSON, personal_fields=personal_fields)
    schema = await practice.cabinet.schemas.create(practice.ann, "patient", definition)
    record = await practice.cabinet.records.create(practice.ann, schema.id, ANN)
    return Resource(ResourceKind.RECORD, record.id)


async def mark_half_way(transaction: Transaction, resource: Resource, subject: Member) -> None:
    """What marking does, in a transaction that has not committed."""
    table = TABLES[resource.kind]
    await transaction.execute(f"SELECT FROM {table} WHERE id = $1 FOR UPDATE", resource.id)
    await transaction.execute(
        f"UPDATE {table} SET data_subject_id = $2 WHERE id = $1",
        resource.id,
        subject.principal_id,
    )


async def count_revocations(practice: Practice) -> int:
    """How many ends of grants are on record."""
    return (await practice.actions()).count("grant.revoke")


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.name.lower())
async def test_marking_waits_for_a_grant_and_ends_it(
    practice: Practice, kind: ResourceKind
) -> None:
    resource = await put(practice, kind)
    grantee = Grantee(GranteeKind.USER, practice.cem.principal_id)
    async with practice.database.transaction(practice.ann) as sharing:
        await practice.grants.create_in(sharing, practice.ann, resource, grantee, READ)
        marking = asyncio.create_task(
            practice.subjects.mark(practice.ann, resource, practice.bob.email)
        )
        await until_blocked(practice.database)
    await marking
    assert not await practice.ways(practice.cem, resource)
    assert await count_revocations(practice) == 1


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.name.lower())
async def test_a_grant_waits_for_marking_and_is_refused(
    practice: Practice, kind: ResourceKind
) -> None:
    """By the service, and by the database were the service to forget it."""
    resource = await put(practice, kind)
    async with practice.database.transaction(practice.ann) as marking:
        await mark_half_way(marking, resource, practice.bob)
        sharing = asyncio.create_task(practice.share(resource, practice.cem))
        inserting = asyncio.create_task(insert_grant(practice, resource))
        await until_blocked(practice.database, 2)
    with pytest.raises(ConsentRequiredError):
        await sharing
    with pytest.raises(asyncpg.CheckViolationError, match="live consent"):
        await inserting


async def insert_grant(practice: Practice, resource: Resource) -> None:
    """A grant, past the service."""
    await practice.execute(
        f"INSERT INTO grants (id, tenant_id, {resource.kind.name.lower()}_id, grantor_id, user_id, actions)"
        " VALUES ($1, $2, $3, $4, $5, '{read}')",
        IdSource().new(),
        practice.ann.tenant_id,
        resource.id,
        practice.ann.principal_id,
        practice.cem.principal_id,
    )


async def test_a_record_that_becomes_personal_waits_for_a_grant_and_the_next_one_for_it(
    practice: Practice,
) -> None:
    record = await put_record(practice)
    definition = replace(PERSON, personal_fields=("/health",))
    schema_id = (await practice.cabinet.records.get(practice.ann, record.id)).schema_id
    await practice.cabinet.schemas.add_version(practice.ann, schema_id, definition)
    migrate = "UPDATE records SET schema_version = 2 WHERE id = $1"
    grantee = Grantee(GranteeKind.USER, practice.cem.principal_id)
    async with practice.database.transaction(practice.ann) as sharing:
        await practice.grants.create_in(sharing, practice.ann, record, grantee, READ)
        migrating = asyncio.create_task(practice.execute(migrate, record.id))
        await until_blocked(practice.database)
    await migrating
    assert not await practice.ways(practice.cem, record)
    await practice.execute("UPDATE records SET schema_version = 1 WHERE id = $1", record.id)
    async with practice.database.transaction(practice.ann) as holding:
        await holding.execute(migrate, record.id)
        sharing_again = asyncio.create_task(practice.share(record, practice.cem))
        inserting = asyncio.create_task(insert_grant(practice, record))
        await until_blocked(practice.database, 2)
    with pytest.raises(ConsentRequiredError):
        await sharing_again
    with pytest.raises(asyncpg.CheckViolationError, match="live consent"):
        await inserting


async def test_whom_it_is_about_is_asked_and_not_whom_it_was_about(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    async with practice.database.transaction(practice.ann) as marking:
        await mark_half_way(marking, document, practice.dee)
        asking = asyncio.create_task(practice.ask(document))
        await until_blocked(practice.database)
    assert (await asking).consent.subject_id == practice.dee.principal_id


@pytest.mark.parametrize(
    "kind", [ResourceKind.DOCUMENT, ResourceKind.COLLECTION], ids=lambda kind: kind.name.lower()
)
async def test_of_marking_and_putting_into_a_store_at_once_the_second_is_refused(
    practice: Practice, kind: ResourceKind
) -> None:
    if kind is ResourceKind.DOCUMENT:
        marked = document = await practice.put_document()
        store, subject = await practice.put_collection(about=practice.dee), practice.bob
    else:
        document = await practice.put_document(about=practice.bob)
        marked = store = await practice.put_collection(about=practice.bob)
        subject = practice.dee
    members = (practice.ann.tenant_id, store.id, document.id)
    async with practice.database.transaction(practice.ann) as adding:
        await adding.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id) VALUES ($1, $2, $3)",
            *members,
        )
        marking = asyncio.create_task(practice.subjects.mark(practice.ann, marked, subject.email))
        await until_blocked(practice.database)
    with pytest.raises(MixedSubjectsError):
        await marking
    await practice.execute("DELETE FROM collection_documents")
    async with practice.database.transaction(practice.ann) as marking_first:
        await mark_half_way(marking_first, marked, subject)
        second = asyncio.create_task(practice.add(store, document))
        await until_blocked(practice.database)
    with pytest.raises(asyncpg.RestrictViolationError):
        await second
