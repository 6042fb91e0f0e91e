"""What all that a worker does is built on."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import structlog

from undercroft.commands.databases import database_pool
from undercroft.jobs.rounds import Rounds
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.kit.tasks import run_until_closed
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.retrieval.embedding.configured import open_embedder, open_incoming_embedder
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.parsing.sandbox import ParserSandbox, SandboxLimits
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing

FORGET_SECONDS: Final = 600.0
"""How often what is kept for a time alone is looked through."""

_BACKGROUND_POOL: Final = 5

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Foundation:
    """What the parts share.

    Attributes:
        stack: Closes all that is opened; outlives every part.
        database: The jobs' pool.
        ledger: What jobs do is put on record by it.
        background: The pool of heartbeats and rounds: these must not wait for a connection behind the jobs' statements.
        background_ledger: What rounds do is put on record by it.
        incoming: Embeds for the model that is being moved to; None while there is none.
    """

    stack: AsyncExitStack
    settings: Settings
    clock: Clock
    ids: IdSource
    database: Database
    ledger: Ledger
    background: Database
    background_ledger: Ledger
    keys: KeyRing
    blobs: BlobStore
    queue: JobQueue
    sandbox: ParserSandbox
    embedder: Embedder
    incoming: Embedder | None

    def repeat(self, name: str, chore: Callable[[], Awaitable[int]], seconds: float) -> None:
        """Do a chore every so many seconds, under this name in the log, until the stack closes."""
        run_until_closed(self.stack, Rounds(name, chore, seconds).run())


async def open_foundation(stack: AsyncExitStack, settings: Settings, url: str) -> Foundation:
    """All of it, until ``stack`` closes; entries are numbered from here on.

    Args:
        stack: Outlives the worker.
        settings: The service's settings.
        url: The service's login.
    """
    clock = SystemClock()
    ids = IdSource(clock)
    database, background = [
        await stack.enter_async_context(database_pool(settings, url, size))
        for size in (settings.database_pool_size, _BACKGROUND_POOL)
    ]
    embedder, incoming = await _open_embedders(stack, settings, clock)
    provider = await stack.enter_async_context(open_key_provider(settings, background))
    sequencer = Sequencer(background, LogKeys(background, provider, settings.ledger_origin))
    run_until_closed(stack, sequencer.run())
    return Foundation(
        stack=stack,
        settings=settings,
        clock=clock,
        ids=ids,
        database=database,
        ledger=Ledger(database, ids, clock, sequencer.wake),
        background=background,
        background_ledger=Ledger(background, ids, clock, sequencer.wake),
        keys=KeyRing(provider, ids),
        blobs=open_blob_store(settings),
        queue=JobQueue(ids),
        sandbox=await _open_sandbox(stack, settings),
        embedder=embedder,
        incoming=incoming,
    )


async def _open_embedders(
    stack: AsyncExitStack, settings: Settings, clock: Clock
) -> tuple[Embedder, Embedder | None]:
    client = await stack.enter_async_context(open_client())
    embedder = await open_embedder(settings, client, clock)
    stack.push_async_callback(embedder.close)
    incoming = await open_incoming_embedder(settings, client, clock)
    if incoming is not None:
        stack.push_async_callback(incoming.close)
    return embedder, incoming


async def _open_sandbox(stack: AsyncExitStack, settings: Settings) -> ParserSandbox:
    limits = SandboxLimits(
        memory_bytes=settings.parser_memory_bytes, seconds=settings.parser_seconds
    )
    sandbox = await stack.enter_async_context(ParserSandbox(limits))
    if sandbox.missing_protections:
        _log.warning("parser_less_confined", missing=sandbox.missing_protections)
    return sandbox
