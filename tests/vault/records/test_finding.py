"""Records found by words: in plain fields alone, and of another's record in those that the finder may search by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.records import PERSON, Cabinet, changed, ids_of, open_cabinet
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    ResourceKind,
    Terms,
)
from undercroft.sharing.service import GrantService
from undercroft.vault.records.finding import RecordFinding
from undercroft.vault.records.models import Precondition, Record
from undercroft.vault.schemas.models import Schema

DEFINITION = replace(PERSON, plain_fields=("/city", "/name", "/age"), indexed_fields=())
SEARCH = frozenset({GrantAction.SEARCH, GrantAction.READ})


@dataclass(frozen=True, slots=True)
class Desk:
    """Ann has records; Bob is her colleague."""

    cabinet: Cabinet
    grants: GrantService
    finding: RecordFinding
    schema: Schema
    ann: Member
    bob: Member

    async def keep(self, scope: Member, name: str, city: str, **more: object) -> Record:
        data = {"name": name, "city": city, **more}
        return await self.cabinet.records.create(scope, self.schema.id, data)

    async def share(self, record: Record, actions: frozenset[GrantAction], *fields: str) -> Grant:
        grantee = Grantee(GranteeKind.USER, self.bob.principal_id)
        terms = Terms(actions, fields=frozenset(fields) or None)
        return await self.grants.create(
            self.ann, Resource(ResourceKind.RECORD, record.id), grantee, terms
        )

    async def find(self, scope: Member, text: str, schema: UUID | None = None) -> Sequence[UUID]:
        return ids_of((await self.finding.find(scope, text, schema, 10)).records)


@pytest.fixture
async def desk(database: Database, tmp_path: Path, make_scope: MakeScope) -> Desk:
    cabinet = await open_cabinet(database, tmp_path)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    people = IdentityService(database, cabinet.ledger, IdSource(), SystemClock())
    grants = GrantService(database, cabinet.ledger, IdSource(), people)
    finding = RecordFinding(database, cabinet.storage, cabinet.schemas, cabinet.ledger)
    schema = await cabinet.schemas.create(ann, "person", DEFINITION)
    return Desk(cabinet, grants, finding, schema, ann, bob)


async def test_ones_own_records_are_found_by_words_of_plain_fields(desk: Desk) -> None:
    ada = await desk.keep(desk.ann, "Ada Weaver", "Old Ulm", age=40, email="loom@example.org")
    await desk.keep(desk.ann, "Ben Weaver", "New Ulm")
    for text in ("ada", "OLD ulm", "weaver 40", '"old ulm"', "weaver -new"):
        assert await desk.find(desk.ann, text) == [ada.id], text
    assert len(await desk.find(desk.ann, "weaver")) == 2
    # Not by parts of words, nor by what is sensitive, nor by pointers, nor by nothing.
    for text in (
        "weav",
        "loom@example.org",
        "city",
        "!",
        "owner",
        f"owner {desk.ann.principal_id}",
    ):
        assert await desk.find(desk.ann, text) == [], text


async def test_of_one_schema_alone(desk: Desk) -> None:
    ada = await desk.keep(desk.ann, "Ada", "Ulm")
    other = await desk.cabinet.schemas.create(desk.ann, "guest", DEFINITION)
    assert await desk.find(desk.ann, "ulm", desk.schema.id) == [ada.id]
    assert await desk.find(desk.ann, "ulm", other.id) == []
    with pytest.raises(NotFoundError):
        await desk.find(desk.ann, "ulm", IdSource().new())


async def test_an_edited_record_is_found_by_what_it_is(desk: Desk) -> None:
    ada = await desk.keep(desk.ann, "Ada", "Ulm")
    await desk.cabinet.records.update(desk.ann, ada.id, Precondition(None), changed(city="Bonn"))
    assert (await desk.find(desk.ann, "ulm"), await desk.find(desk.ann, "bonn")) == ([], [ada.id])


async def test_another_ones_records_are_found_under_grants_to_search_alone(
    desk: Desk, make_scope: MakeScope
) -> None:
    ada = await desk.keep(desk.ann, "Ada", "Ulm")
    stranger = await make_scope()
    assert await desk.find(desk.bob, "ada") == []
    await desk.share(ada, frozenset({GrantAction.READ}))
    assert await desk.find(desk.bob, "ada") == []
    given = await desk.share(ada, SEARCH)
    assert await desk.find(desk.bob, "ada ulm") == [ada.id]
    assert await desk.find(stranger, "ada") == []
    await desk.grants.revoke(desk.ann, given.id)
    assert await desk.find(desk.bob, "ada") == []


async def test_no_field_tells_that_a_grant_to_search_does_not_cover(desk: Desk) -> None:
    ada = await desk.keep(desk.ann, "Ada", "Ulm")
    ben = await desk.keep(desk.ann, "Ben", "Ulm Ulm Ulm")
    await desk.share(ada, SEARCH, "/name", "/city")
    await desk.share(ben, SEARCH, "/name")
    assert await desk.find(desk.bob, "ulm") == [ada.id]
    assert await desk.find(desk.bob, "ben") == [ben.id]
    # Whether a word is not there is not told either.
    assert await desk.find(desk.bob, "ben -ulm") == [ben.id]
    assert await desk.find(desk.bob, "ben ulm") == []
    (shown,) = (await desk.finding.find(desk.bob, "ben", None, 10)).records
    assert isinstance(shown, Record)
    assert shown.data == {"name": "Ben"}


async def test_what_is_found_is_on_its_owners_record(desk: Desk) -> None:
    ada = await desk.keep(desk.ann, "Ada", "Ulm")
    await desk.share(ada, SEARCH)
    await desk.find(desk.bob, "ada", desk.schema.id)
    acts = [action for action, _ in await desk.cabinet.actions(desk.bob)]
    assert acts[-3:] == ["record.search", "record.search", "record.read"]


async def test_the_words_go_with_the_record(desk: Desk) -> None:
    ada = await desk.keep(desk.ann, "Ada", "Ulm")
    await desk.cabinet.records.delete(desk.ann, ada.id, Precondition(None))
    assert await desk.find(desk.ann, "ada") == []


async def test_the_best_come_first_and_a_page_says_that_there_are_more(desk: Desk) -> None:
    one = await desk.keep(desk.ann, "Ada of Ulm", "Bonn")
    best = await desk.keep(desk.ann, "Ulm", "Ulm Ulm")
    page = await desk.finding.find(desk.ann, "ulm", None, 1)
    assert (ids_of(page.records), page.has_more) == ([best.id], True)
    assert await desk.find(desk.ann, "ulm") == [best.id, one.id]
