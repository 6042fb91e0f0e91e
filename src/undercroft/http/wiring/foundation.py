"""What all parts of the API are built on."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientSession

from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.jobs.rounds import Rounds
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.kit.tasks import run_until_closed
from undercroft.kit.telemetry import Telemetry
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.refusals import RefusalCounts
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue
from undercroft.retrieval.index.service import IndexService
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing

_SEQUENCER_POOL: Final = 2
_SETTLE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Foundation:
    """What parts share.

    Attributes:
        stack: Closes all that is opened; outlives every part.
        database: The requests' pool.
        client: Calls out to servers of the operator's settings.
    """

    stack: AsyncExitStack
    settings: Settings
    database_url: str
    clock: Clock
    ids: IdSource
    database: Database
    client: ClientSession
    keys: KeyRing
    log_keys: LogKeys
    sequencer: Sequencer
    ledger: Ledger
    queue: JobQueue
    index: IndexService
    mail: MailQueue
    hasher: PasswordHasher


def most_calls(settings: Settings) -> int:
    """To how many a process may have to call out at once: for each request that it takes, each response that it makes.

    With fewer connections, what has been admitted would wait for one until it fails.
    """
    return settings.max_open_requests + settings.max_running_responses


async def open_foundation(
    stack: AsyncExitStack,
    settings: Settings,
    database_url: str,
    clock: Clock,
    ids: IdSource,
    telemetry: Telemetry,
) -> Foundation:
    """All of it, until ``stack`` closes."""
    database = await open_pool(
        stack, settings, database_url, clock, settings.database_pool_size, telemetry
    )
    client = await stack.enter_async_context(open_client(most_calls(settings)))
    run_until_closed(stack, telemetry.watch_loop(clock))
    provider = await stack.enter_async_context(open_key_provider(settings, database))
    keys, queue = KeyRing(provider, ids), JobQueue(ids)
    sequencer = await _run_sequencer(stack, settings, database_url, provider, clock, ids)
    hasher = PasswordHasher(at_once=settings.password_checks)
    stack.callback(hasher.close)
    return Foundation(
        stack=stack,
        settings=settings,
        database_url=database_url,
        clock=clock,
        ids=ids,
        database=database,
        client=client,
        keys=keys,
        log_keys=LogKeys(database, provider, settings.ledger_origin),
        sequencer=sequencer,
        ledger=Ledger(database, ids, clock, sequencer.wake),
        queue=queue,
        index=IndexService(queue),
        mail=MailQueue(keys, queue, ids),
        hasher=hasher,
    )


async def open_pool(
    stack: AsyncExitStack,
    settings: Settings,
    database_url: str,
    clock: Clock,
    size: int,
    observer: Telemetry | None = None,
) -> Database:
    """Connections, until ``stack`` closes."""
    return await stack.enter_async_context(
        Database(
            database_url,
            clock=clock,
            size=size,
            statement_cache=settings.database_statement_cache,
            observer=observer,
        )
    )


async def _run_sequencer(
    stack: AsyncExitStack,
    settings: Settings,
    database_url: str,
    provider: KeyProvider,
    clock: Clock,
    ids: IdSource,
) -> Sequencer:
    """Number what is appended, and settle what refusals are counted, until ``stack`` closes."""
    # A pool of its own: numbers must not wait behind requests for a connection.
    database = await open_pool(stack, settings, database_url, clock, _SEQUENCER_POOL)
    sequencer = Sequencer(database, LogKeys(database, provider, settings.ledger_origin))
    run_until_closed(stack, sequencer.run())
    refusals = RefusalCounts(database, Ledger(database, ids, clock, sequencer.wake))
    run_until_closed(stack, Rounds("settle_refusals", refusals.settle, _SETTLE_SECONDS).run())
    return sequencer
