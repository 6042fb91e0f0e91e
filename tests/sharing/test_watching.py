"""What runs under a grant is cut when that ends, however it ends but by its last use, and nothing else is."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import Member
from tests.sharing.conftest import READ, SHARE, Office
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import PooledConnection
from undercroft.ledger.models import LogScope
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import Grantee, GranteeKind, Resource, Way
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.watching import WatchedGrants

HOUR = timedelta(hours=1)


@pytest.fixture
async def watched(database_urls: DatabaseUrls) -> AsyncGenerator[WatchedGrants]:
    async with Database(database_urls.service, clock=SystemClock(), size=1) as database:
        yield WatchedGrants(database)


async def only_way(office: Office, scope: Member, document: Resource) -> Way:
    [way] = await office.ways(scope, document)
    return way


async def is_cut(watched: WatchedGrants, scope: Member, way: Way) -> bool:
    """Whether something that runs under the way is cut at the next look."""
    cuts: list[bool] = []
    with watched.register(scope, way, lambda: cuts.append(True)):
        await watched.check()
        await watched.check()
    return cuts == [True]


async def test_a_revoked_grant_cuts_and_one_that_lasts_does_not(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    given = await office.share(office.ann, document, office.bob, SHARE)
    await office.share(office.bob, document, office.cem)
    direct = await only_way(office, office.bob, document)
    derived = await only_way(office, office.cem, document)
    for scope, way in ((office.bob, direct), (office.cem, derived)):
        assert not await is_cut(watched, scope, way)
    await office.grants.revoke(office.ann, given.id)
    for scope, way in ((office.bob, direct), (office.cem, derived)):
        assert await is_cut(watched, scope, way)


async def test_a_grant_whose_time_is_over_cuts(office: Office, watched: WatchedGrants) -> None:
    document = await office.put_document(office.ann)
    lasting = replace(READ, expires_at=datetime.now(UTC) + HOUR)
    await office.share(office.ann, document, office.bob, lasting)
    way = await only_way(office, office.bob, document)
    assert not await is_cut(watched, office.bob, way)
    past = datetime.now(UTC) - HOUR
    over = replace(READ, not_before=past - HOUR, expires_at=past)
    grant = await office.share(office.ann, document, office.bob, over)
    ended = replace(way, grants=(replace(way.grants[0], id=grant.id),))
    assert await is_cut(watched, office.bob, ended)


async def test_the_last_use_runs_to_its_end(office: Office, watched: WatchedGrants) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob, replace(READ, max_uses=1))
    way = await only_way(office, office.bob, document)
    async with office.database.transaction(office.bob) as transaction:
        await GrantUses().count(transaction, way)
    assert not await office.ways(office.bob, document)
    assert not await is_cut(watched, office.bob, way)


@pytest.mark.parametrize("revoked", ["given", "derived"])
async def test_revoking_after_the_last_use_cuts_it_and_goes_on_record(
    office: Office, watched: WatchedGrants, revoked: str
) -> None:
    document = await office.put_document(office.ann)
    given = await office.share(office.ann, document, office.bob, replace(SHARE, max_uses=1))
    derived = await office.share(office.bob, document, office.cem)
    way = await only_way(office, office.cem, document)
    async with office.database.transaction(office.cem) as transaction:
        await GrantUses().count(transaction, way)
    assert not await is_cut(watched, office.cem, way)
    before = await revocations(office)
    ends = given if revoked == "given" else derived
    await office.grants.revoke(office.ann, ends.id)
    assert await is_cut(watched, office.cem, way)
    recorded = await revocations(office)
    assert recorded == before + (2 if revoked == "given" else 1)
    await office.grants.revoke(office.ann, ends.id)
    assert await revocations(office) == recorded


async def revocations(office: Office) -> int:
    """How many of the tenant are on record."""
    async with office.database.transaction(LogScope(office.ann.tenant_id)) as transaction:
        return int(
            await transaction.fetchval(
                "SELECT count(*) FROM ledger_pending WHERE action = 'grant.revoke' AND outcome <> 'denied'"
            )
        )


async def test_whoever_is_suspended_is_cut_and_the_others_are_not(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    ways = {}
    for person in (office.bob, office.cem):
        await office.share(office.ann, document, person)
        ways[person] = await only_way(office, person, document)
    await office.execute(
        office.ann, "UPDATE users SET suspended_at = now() WHERE id = $1", office.bob.principal_id
    )
    assert await is_cut(watched, office.bob, ways[office.bob])
    assert not await is_cut(watched, office.cem, ways[office.cem])


async def test_whoever_leaves_the_group_is_cut_and_the_others_are_not(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    group_id = await office.make_group(office.bob, office.cem)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), READ)
    way = await only_way(office, office.bob, document)
    await office.execute(
        office.ann, "DELETE FROM group_members WHERE user_id = $1", office.bob.principal_id
    )
    assert await is_cut(watched, office.bob, way)
    assert not await is_cut(watched, office.cem, way)


async def test_what_a_collection_shows_ends_with_either_grant(
    office: Office, watched: WatchedGrants
) -> None:
    """The document's is made out to whoever put it there, not to whoever reads it."""
    document = await office.put_document(office.ann)
    for ending in ("lent", "given"):
        group_id = await office.make_group(office.bob)
        grantee = Grantee(GranteeKind.GROUP, group_id)
        collection = await office.put_collection(office.bob)
        lent = await office.grants.create(office.ann, document, grantee, SHARE)
        await office.add(office.bob, collection, document, lent)
        given = await office.share(office.bob, collection, office.cem)
        way = await only_way(office, office.cem, document)
        assert len(way.grants) == 2
        assert not await is_cut(watched, office.cem, way)
        revoked = {"lent": lent, "given": given}[ending]
        await office.grants.revoke(office.ann if ending == "lent" else office.bob, revoked.id)
        assert await is_cut(watched, office.cem, way)


async def test_a_grant_that_went_with_its_resource_cuts(
    office: Office, watched: WatchedGrants
) -> None:
    collection = await office.put_collection(office.ann)
    await office.share(office.ann, collection, office.bob)
    way = await only_way(office, office.bob, collection)
    await office.execute(office.ann, "DELETE FROM collections")
    assert await is_cut(watched, office.bob, way)


class CountingDatabase(Database):
    """Counts what is asked outside of all tenants."""

    asked = 0

    @asynccontextmanager
    async def statement_without_scope(self) -> AsyncGenerator[PooledConnection]:
        self.asked += 1
        async with super().statement_without_scope() as connection:
            yield connection


async def test_all_that_runs_is_asked_about_at_once(
    office: Office, database_urls: DatabaseUrls
) -> None:
    async with CountingDatabase(database_urls.service, clock=SystemClock(), size=1) as counting:
        await check_two(office, counting)


async def check_two(office: Office, counting: CountingDatabase) -> None:
    watched = WatchedGrants(counting)
    await watched.check()
    assert counting.asked == 0
    cuts: list[int] = []
    people = (office.bob, office.cem)
    documents = [await office.put_document(office.ann) for _ in people]
    grants = [
        await office.share(office.ann, document, person)
        for person, document in zip(people, documents, strict=True)
    ]
    ways = [await only_way(office, people[n], documents[n]) for n in range(2)]
    with (
        watched.register(office.bob, ways[0], lambda: cuts.append(0)),
        watched.register(office.cem, ways[1], lambda: cuts.append(1)),
        watched.register(office.ann, Way(), lambda: cuts.append(2)),
    ):
        await office.grants.revoke(office.ann, grants[1].id)
        assert await watched.check() == 1
    assert (counting.asked, cuts) == (1, [1])


async def test_what_cannot_be_asked_about_is_cut(office: Office, watched: WatchedGrants) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob)
    way = await only_way(office, office.bob, document)
    await watched._database._pool.close()
    cuts: list[bool] = []
    with watched.register(office.bob, way, lambda: cuts.append(True)):
        with suppress(Exception):
            await watched.check()
        assert cuts == [True]


class InterruptedDatabase(Database):
    """Its session is ended under its first statement."""

    is_interrupted = False

    @asynccontextmanager
    async def statement_without_scope(self) -> AsyncGenerator[PooledConnection]:
        async with super().statement_without_scope() as connection:
            if not self.is_interrupted:
                self.is_interrupted = True
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            yield connection


async def test_one_interruption_cuts_only_what_has_ended(
    office: Office, database_urls: DatabaseUrls
) -> None:
    documents = [await office.put_document(office.ann) for _ in range(2)]
    ended, _ = [await office.share(office.ann, document, office.bob) for document in documents]
    ways = [await only_way(office, office.bob, document) for document in documents]
    await office.grants.revoke(office.ann, ended.id)
    cuts: list[int] = []
    async with InterruptedDatabase(database_urls.service, clock=SystemClock(), size=1) as database:
        watched = WatchedGrants(database)
        with (
            watched.register(office.bob, ways[0], lambda: cuts.append(0)),
            watched.register(office.bob, ways[1], lambda: cuts.append(1)),
        ):
            assert await watched.check() == 1
        assert database.is_interrupted
    assert cuts == [0]


async def test_work_is_cut_whatever_it_waits_for_and_told_why(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    grant = await office.share(office.ann, document, office.bob)
    way = await only_way(office, office.bob, document)
    begun = asyncio.Event()

    async def work() -> None:
        async with watched.cutting(office.bob, way):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    await office.grants.revoke(office.ann, grant.id)
    await watched.check()
    with pytest.raises(AccessRevokedError):
        await task
    other = asyncio.create_task(work())
    begun.clear()
    await begun.wait()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
