"""What runs under a grant is cut when that ends, however it ends but by its last use, and nothing else is."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.second_factors import demand_factors, enrol
from tests.sharing.conftest import READ, SHARE, Office
from tests.stepping import PATIENCE
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.kit.sql import PooledConnection
from undercroft.ledger.models import LogScope
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import Grantee, GranteeKind, GrantLimits, Release, Resource, Way
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.watching import WatchedGrants

HOUR = timedelta(hours=1)
TRASH = "UPDATE documents SET deleted_at = now(), purge_at = now() + interval '1 day'"


@dataclass(frozen=True, slots=True)
class Acting:
    """A service that acts for somebody."""

    tenant_id: UUID
    principal_id: UUID
    actor_id: UUID
    purpose: str | None


@pytest.fixture
async def watched(database_urls: DatabaseUrls) -> AsyncGenerator[WatchedGrants]:
    async with Database(database_urls.service, clock=SystemClock(), size=1) as database:
        yield WatchedGrants(database)


async def reach(office: Office, scope: Member, document: Resource) -> Release:
    """A document as somebody reads it, by the only way that they have."""
    [way] = await office.ways(scope, document)
    return Release(document.id, way)


async def is_cut(watched: WatchedGrants, scope: Scope, release: Release) -> bool:
    """Whether something that runs is cut at the next look."""
    cuts: list[bool] = []
    with watched.register(scope, [release], lambda _: cuts.append(True)):
        await watched.check()
        await watched.check()
    return cuts == [True]


async def test_a_revoked_grant_cuts_and_one_that_lasts_does_not(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    given = await office.share(office.ann, document, office.bob, SHARE)
    await office.share(office.bob, document, office.cem)
    direct = await reach(office, office.bob, document)
    derived = await reach(office, office.cem, document)
    for scope, release in ((office.bob, direct), (office.cem, derived)):
        assert not await is_cut(watched, scope, release)
    await office.grants.revoke(office.ann, given.id)
    for scope, release in ((office.bob, direct), (office.cem, derived)):
        assert await is_cut(watched, scope, release)


async def test_a_grant_whose_time_is_over_cuts(office: Office, watched: WatchedGrants) -> None:
    document = await office.put_document(office.ann)
    lasting = replace(READ, expires_at=datetime.now(UTC) + HOUR)
    await office.share(office.ann, document, office.bob, lasting)
    release = await reach(office, office.bob, document)
    assert not await is_cut(watched, office.bob, release)
    past = datetime.now(UTC) - HOUR
    over = replace(READ, not_before=past - HOUR, expires_at=past)
    grant = await office.share(office.ann, document, office.bob, over)
    ended = replace(release, way=Way((GrantLimits(grant.id),)))
    assert await is_cut(watched, office.bob, ended)


async def test_the_last_use_runs_to_its_end(office: Office, watched: WatchedGrants) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob, replace(READ, max_uses=1))
    release = await reach(office, office.bob, document)
    async with office.database.transaction(office.bob) as transaction:
        await GrantUses().count(transaction, release.way)
    assert not await office.ways(office.bob, document)
    assert not await is_cut(watched, office.bob, release)


@pytest.mark.parametrize("revoked", ["given", "derived"])
async def test_revoking_after_the_last_use_cuts_it_and_goes_on_record(
    office: Office, watched: WatchedGrants, revoked: str
) -> None:
    document = await office.put_document(office.ann)
    given = await office.share(office.ann, document, office.bob, replace(SHARE, max_uses=1))
    derived = await office.share(office.bob, document, office.cem)
    release = await reach(office, office.cem, document)
    async with office.database.transaction(office.cem) as transaction:
        await GrantUses().count(transaction, release.way)
    assert not await is_cut(watched, office.cem, release)
    before = await revocations(office)
    ends = given if revoked == "given" else derived
    await office.grants.revoke(office.ann, ends.id)
    assert await is_cut(watched, office.cem, release)
    recorded = await revocations(office)
    assert recorded == before + (2 if revoked == "given" else 1)
    await office.grants.revoke(office.ann, ends.id)
    assert await revocations(office) == recorded


async def test_a_last_use_is_cut_when_who_shared_it_on_leaves_the_group(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    group_id = await office.make_group(office.bob)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), SHARE)
    grant = await office.share(office.bob, document, office.cem, replace(READ, max_uses=1))
    release = await reach(office, office.cem, document)
    async with office.database.transaction(office.cem) as transaction:
        await GrantUses().count(transaction, release.way)
    assert not await is_cut(watched, office.cem, release)
    await office.execute(office.ann, "DELETE FROM group_members")
    assert await is_cut(watched, office.cem, release)
    assert (await office.grants.get(office.ann, grant.id)).cut_at is not None


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
    releases = {}
    for person in (office.bob, office.cem):
        await office.share(office.ann, document, person)
        releases[person] = await reach(office, person, document)
    await office.execute(
        office.ann, "UPDATE users SET suspended_at = now() WHERE id = $1", office.bob.principal_id
    )
    assert await is_cut(watched, office.bob, releases[office.bob])
    assert not await is_cut(watched, office.cem, releases[office.cem])


async def test_whoever_owes_a_second_factor_is_cut_and_told_so(
    office: Office, watched: WatchedGrants, make_scope: MakeScope
) -> None:
    document = await office.put_document(office.ann)
    eve, guest, robot = [await make_scope(office.ann.tenant_id) for _ in range(3)]
    await office.execute(office.ann, _GUEST, guest.principal_id)
    await office.execute(office.ann, _SERVICE, robot.principal_id)
    people = {"bob": office.bob, "cem": office.cem, "eve": eve, "guest": guest, "robot": robot}
    for person in people.values():
        await office.share(office.ann, document, person)
    releases = {name: await reach(office, person, document) for name, person in people.items()}
    await enrol(office.database, office.ann)
    await enrol(office.database, office.cem)
    await enrol(office.database, office.bob, confirmed=False)
    await office.execute(office.ann, _COMES_BY_AN_ISSUER, eve.tenant_id, eve.principal_id)
    told: dict[str, str | None] = {}
    with ExitStack() as running:
        for name, person in people.items():
            cut = partial(_note, told, name)
            running.enter_context(watched.register(person, [releases[name]], cut))
        running.enter_context(watched.register(office.ann, [], partial(_note, told, "ann")))
        assert await watched.check() == 0
        await demand_factors(office.database, office.ann)
        assert await watched.check() == 2
    assert told == dict.fromkeys(("bob", "guest"), "second_factor_required")


def _note(told: dict[str, str | None], name: str, error: AccessRevokedError) -> None:
    told[name] = error.code


_GUEST = "UPDATE users SET kind = 'guest' WHERE id = $1"
_SERVICE = "UPDATE users SET kind = 'service', name = 'robot', email = NULL WHERE id = $1"
_COMES_BY_AN_ISSUER = """
INSERT INTO issuer_users (tenant_id, issuer, subject, user_id) VALUES ($1, 'https://id.example.org', 'eve', $2)
"""


async def test_whoever_leaves_the_group_is_cut_and_the_others_are_not(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    group_id = await office.make_group(office.bob, office.cem)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), READ)
    release = await reach(office, office.bob, document)
    await office.execute(
        office.ann, "DELETE FROM group_members WHERE user_id = $1", office.bob.principal_id
    )
    assert await is_cut(watched, office.bob, release)
    assert not await is_cut(watched, office.cem, release)


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
        release = await reach(office, office.cem, document)
        assert len(release.way.grants) == 2
        assert not await is_cut(watched, office.cem, release)
        revoked = {"lent": lent, "given": given}[ending]
        await office.grants.revoke(office.ann if ending == "lent" else office.bob, revoked.id)
        assert await is_cut(watched, office.cem, release)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM collections", "DELETE FROM collection_documents", TRASH]
)
async def test_what_was_reached_by_a_store_and_is_no_more_cuts(
    office: Office, watched: WatchedGrants, statement: str
) -> None:
    """By a grant of the store, by one that lends the document to its owner, and by its owner's will alone."""
    granted, lent, put = [await office.put_document(office.ann) for _ in range(3)]
    shelf = await office.put_collection(office.ann)
    drawer = await office.put_collection(office.bob)
    await office.share(office.ann, shelf, office.bob)
    grant = await office.share(office.ann, lent, office.cem, SHARE)
    await office.add(office.ann, shelf, granted)
    await office.add(office.cem, drawer, lent, grant)
    await office.add(office.ann, drawer, put)
    releases = [await reach(office, office.bob, document) for document in (granted, lent, put)]
    assert [len(release.way.grants) for release in releases] == [1, 1, 0]
    for release in releases:
        assert not await is_cut(watched, office.bob, release)
    await office.execute(office.ann, statement)
    for release in releases:
        assert await is_cut(watched, office.bob, release)


async def test_the_other_documents_of_a_store_are_not_cut(
    office: Office, watched: WatchedGrants
) -> None:
    """Neither those of a store that is granted, nor those that are lent to the reader's own."""
    shelf = await office.put_collection(office.ann)
    drawer = await office.put_collection(office.bob)
    await office.share(office.ann, shelf, office.bob)
    documents = [await office.put_document(office.ann) for _ in range(4)]
    for granted, lent in (documents[:2], documents[2:]):
        await office.add(office.ann, shelf, granted)
        grant = await office.share(office.ann, lent, office.cem, SHARE)
        await office.add(office.cem, drawer, lent, grant)
    documents.append(await office.put_document(office.ann))
    for store in (drawer, await office.put_collection(office.ann)):
        await office.add(office.ann, store, documents[-1])
    releases = [await reach(office, office.bob, document) for document in documents]
    for store, gone in ((shelf, documents[0]), (drawer, documents[1]), (drawer, documents[-1])):
        await office.execute(
            office.ann,
            "DELETE FROM collection_documents WHERE collection_id = $1 AND document_id = $2",
            store.id,
            gone.id,
        )
    cut = [await is_cut(watched, office.bob, release) for release in releases]
    assert cut == [True, True, False, False, True]


@pytest.mark.parametrize("suspended", ["principal", "actor"])
async def test_a_service_that_acts_for_somebody_is_cut_with_either(
    office: Office, watched: WatchedGrants, suspended: str
) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob)
    release = await reach(office, office.bob, document)
    acting = Acting(office.bob.tenant_id, office.bob.principal_id, office.cem.principal_id, None)
    assert not await is_cut(watched, acting, release)
    user_id = acting.principal_id if suspended == "principal" else acting.actor_id
    await office.execute(office.ann, "UPDATE users SET suspended_at = now() WHERE id = $1", user_id)
    assert await is_cut(watched, acting, release)


@pytest.mark.parametrize("hangs", ["statement", "server"])
async def test_a_database_that_hangs_delays_no_cut(
    office: Office, database_urls: DatabaseUrls, hangs: str
) -> None:
    """Held up by a lock; and stopped, so that not even the end of the statement comes."""
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob)
    release = await reach(office, office.bob, document)
    owner = await asyncpg.connect(database_urls.migration)
    async with Database(database_urls.service, clock=SystemClock(), size=1) as database:
        watched = WatchedGrants(database, patience=0.05)
        async with database.statement_without_scope() as connection:
            process_id = connection.get_server_pid()
        cuts: list[bool] = []
        try:
            if hangs == "server":
                os.kill(process_id, signal.SIGSTOP)
            else:
                await owner.execute("BEGIN; LOCK TABLE grants IN ACCESS EXCLUSIVE MODE")
            with watched.register(office.bob, [release], lambda _: cuts.append(True)):
                async with asyncio.timeout(PATIENCE):
                    with pytest.raises(TimeoutError, match="does not say"):
                        await watched.check()
            assert cuts == [True]
            assert watched._late  # not even the end of what was asked is waited for
        finally:
            if hangs == "server":
                os.kill(process_id, signal.SIGCONT)
            await owner.close()


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
    releases = [await reach(office, people[n], documents[n]) for n in range(2)]
    with (
        watched.register(office.bob, [releases[0]], lambda _: cuts.append(0)),
        watched.register(office.cem, [releases[1]], lambda _: cuts.append(1)),
        watched.register(office.ann, [], lambda _: cuts.append(2)),
    ):
        await office.grants.revoke(office.ann, grants[1].id)
        assert await watched.check() == 1
    assert (counting.asked, cuts) == (1, [1])


async def test_what_cannot_be_asked_about_is_cut(office: Office, watched: WatchedGrants) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob)
    release = await reach(office, office.bob, document)
    await watched._database._pool.close()
    cuts: list[bool] = []
    with watched.register(office.bob, [release], lambda _: cuts.append(True)):
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
    releases = [await reach(office, office.bob, document) for document in documents]
    await office.grants.revoke(office.ann, ended.id)
    cuts: list[int] = []
    async with InterruptedDatabase(database_urls.service, clock=SystemClock(), size=1) as database:
        watched = WatchedGrants(database)
        with (
            watched.register(office.bob, [releases[0]], lambda _: cuts.append(0)),
            watched.register(office.bob, [releases[1]], lambda _: cuts.append(1)),
        ):
            assert await watched.check() == 1
        assert database.is_interrupted
    assert cuts == [0]


async def test_work_is_cut_whatever_it_waits_for_and_told_why(
    office: Office, watched: WatchedGrants
) -> None:
    document = await office.put_document(office.ann)
    grant = await office.share(office.ann, document, office.bob)
    release = await reach(office, office.bob, document)
    begun = asyncio.Event()

    async def work() -> None:
        async with watched.cutting(office.bob, [release]):
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
