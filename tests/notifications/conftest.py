"""Notifications over one test's database, with a real receiver; attempts are made when the test says so."""

import ipaddress
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from tests.attempts import Attempts
from tests.conftest import Member
from tests.servers.webhook_receiver import Receiver, running_receiver
from tests.stepping import SteppedDatabase
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.notifications.endpoints import EndpointService, IssuedSecret
from undercroft.notifications.events import EventType, Payload
from undercroft.notifications.models import Delivery
from undercroft.notifications.sender import WebhookSender
from undercroft.notifications.service import Notifications
from undercroft.notifications.tasks import WebhookTasks
from undercroft.vault.keys.service import KeyRing

LOOPBACK: Final = EgressPolicy((ipaddress.ip_network("127.0.0.0/8"),), allow_http=True)
EVENT: Final[EventType] = "grant.created"
PAYLOAD: Final[Payload] = {"grant": "grant_0193", "uses": 3}


class OffsetClock(SystemClock):
    """The machine's time, moved by what the test sets."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


@dataclass(frozen=True, slots=True)
class Post:
    """The services, and what they run on.

    Attributes:
        database: For the test's own looks.
        stepped: What the job uses; can be stopped between two transactions.
    """

    database: Database
    stepped: SteppedDatabase
    endpoints: EndpointService
    notifications: Notifications
    tasks: WebhookTasks
    attempts: Attempts
    keys: KeyRing
    urls: DatabaseUrls
    clock: OffsetClock = field(default_factory=OffsetClock)

    async def as_owner(self, statement: str, *arguments: object) -> None:
        """Do what the service's login may not."""
        owner = await asyncpg.connect(self.urls.migration)
        try:
            await owner.execute(statement, *arguments)
        finally:
            await owner.close()

    async def publish(self, scope: Scope, payload: Payload = PAYLOAD) -> None:
        """Let something happen."""
        async with self.database.transaction(scope) as transaction:
            await self.notifications.publish(transaction, scope, EVENT, payload)

    async def open(self, scope: Scope, url: str) -> IssuedSecret:
        """An endpoint that takes the event."""
        return await self.endpoints.create(scope, url, [EVENT])

    async def deliveries(self, scope: Scope, issued: IssuedSecret) -> Sequence[Delivery]:
        """All of an endpoint."""
        return await self.notifications.list_deliveries(
            scope, issued.endpoint.id, state=None, after=None, limit=100
        )

    async def waits(self, scope: Scope) -> list[float]:
        """After how many seconds the jobs in line are to run."""
        async with self.database.transaction(scope) as transaction:
            rows = await transaction.fetch(
                "SELECT extract(epoch FROM q.execute_after - q.created) AS seconds FROM pgqueuer AS q"
                " JOIN jobs AS j ON j.id::text = q.dedupe_key WHERE j.state = 'queued'"
            )
        return [float(row["seconds"]) for row in rows]

    async def actions(self, scope: Member) -> list[tuple[str, str, str | None]]:
        """What the ledger got of the tenant, in order: action, outcome, purpose."""
        async with self.database.transaction(scope) as transaction:
            rows = await transaction.fetch(
                "SELECT action, outcome, purpose FROM ledger_pending ORDER BY id"
            )
        return [(row["action"], row["outcome"], row["purpose"]) for row in rows]


@pytest.fixture(scope="module")
def receiver() -> Generator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
async def post(
    database: Database, database_urls: DatabaseUrls, tmp_path: Path
) -> AsyncGenerator[Post]:
    ids, clock = IdSource(), OffsetClock()
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), ids)
    queue, ledger = JobQueue(ids), Ledger(database, ids, clock)
    async with (
        SteppedDatabase(database_urls.service, clock=clock, size=4) as stepped,
        open_guarded_client(LOOPBACK) as client,
    ):
        tasks = WebhookTasks(
            stepped, keys, WebhookSender(client, 5.0), queue, ledger, clock, lambda: 0.5
        )
        yield Post(
            database,
            stepped,
            EndpointService(database, keys, ledger, LOOPBACK, ids),
            Notifications(database, queue, ids),
            tasks,
            Attempts(database, tasks.handlers()),
            keys,
            database_urls,
            clock,
        )
