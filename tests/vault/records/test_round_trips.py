"""How often the database is asked to read a record: what a reading waits for, besides the work itself."""

from pathlib import Path

from tests.conftest import Member
from tests.records import open_cabinet
from tests.round_trips import counted_wire
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.ledger.service import Ledger

UNLEDGERED = ("whose key it is", "BEGIN and the scope", "the record", "COMMIT")


async def test_a_reading_asks_once_more_than_one_that_is_not_ledgered(
    database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    clock, ids = SystemClock(), IdSource()
    async with (
        counted_wire(database_urls.service) as (url, wire),
        Database(url, clock=clock, size=1) as database,
    ):
        identity = IdentityService(database, Ledger(database, ids, clock), ids, clock)
        key = await identity.issue_key("acme", "ann@example.org", None, None)
        cabinet = await open_cabinet(database, tmp_path)
        ann = Member(key.principal.tenant_id, key.principal.principal_id, "")
        record = await cabinet.ann(ann)

        async def read() -> None:
            principal = await identity.authenticate(key.secret)
            assert (await cabinet.records.get(principal, record.id)).data == record.data

        # Statements are prepared, a log's id and a person's salt looked up, once for each connection and process.
        await read()
        before = wire.round_trips
        await read()
        assert wire.round_trips - before == len(UNLEDGERED) + 1
