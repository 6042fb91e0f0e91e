"""The sequencer: gives what was committed its place in the log, and signs the tree that it makes.

It runs in every process of the service. Whoever locks a log's head row numbers that log's next entries; the others
leave it alone meanwhile, and go on where one ended.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from undercroft.kit.crypto.providers.protocol import KeyUnavailableError
from undercroft.kit.database import DATABASE_GONE, Database
from undercroft.kit.lru import LruCache
from undercroft.ledger.keys import LogKeys, SigningKeys
from undercroft.ledger.merkle import Growth, grow, root_of
from undercroft.ledger.models import LogScope, PendingEntries
from undercroft.ledger.notes import checkpoint_text, sign_note
from undercroft.ledger.repository import LedgerRepository

_FIRST: Final = UUID(int=0)
_LOGS_AT_ONCE: Final = 100
_KNOWN_LOGS: Final = 10_000
_TRIES: Final = 3

_log: Final = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SequencerSettings:
    """How a sequencer paces itself.

    Attributes:
        batch: The most entries of one log in one transaction.
        poll_seconds: How often it looks for what other processes left.
        gather_seconds: How long it lets entries gather between rounds: each costs a commit of its own.
        failure_seconds: How long it rests after a round that failed for no reason it knows.
    """

    batch: int = 1024
    poll_seconds: float = 0.75
    gather_seconds: float = 0.2
    failure_seconds: float = 5.0


class Sequencer:
    """Numbers pending entries of all tenants' logs, at a cost in proportion to what is pending.

    Where nothing is appended in this process it only looks, now and then, whether another has left something: two that
    number the entries of one log as they come would each do half as much in a round, at the price of a whole one.

    Args:
        database: Not the requests' pool where there is another: it must not wait behind them.
        keys: Sign the checkpoints.
        settings: Its pace.
    """

    def __init__(
        self,
        database: Database,
        keys: LogKeys,
        settings: SequencerSettings | None = None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._settings = settings or SequencerSettings()
        self._repository = LedgerRepository()
        self._awake = asyncio.Event()
        self._is_reachable = True
        # Its own: uploads may have all the shared ones wait for the disk, and PostgreSQL ends a session that has a log
        # locked and is idle for a second.
        self._thread = ThreadPoolExecutor(1, "sequencer")
        self._failing: set[UUID] = set()
        # Transaction ids below which nothing is pending: in any log, and in the logs that were numbered last. They are
        # of one life of the database: of its next, after a restore, they would be wrong.
        self._settled_below = 0
        self._settled_logs: LruCache[UUID, int] = LruCache(_KNOWN_LOGS)
        # A commit at or above it was seen, and is on disk. From there on, the ends of transactions that failed need not
        # be: after a crash PostgreSQL gives out their ids again, and a sequencer may not notice that it was away.
        self._durable_below = 0

    def wake(self) -> None:
        """Say that an entry was appended, or soon will have been. From the event loop's thread; costs nothing."""
        self._awake.set()

    async def run(self) -> None:
        """Sequence until cancelled."""
        pause = self._settings.poll_seconds
        while True:
            was_awake = self._awake.is_set()
            # Before the round, of which whoever wakes us meanwhile may be no part any more.
            self._awake.clear()
            largest = await self._round_or_log()
            pause = next_pause(self._settings, pause, largest=largest, was_awake=was_awake)
            await self._wait(pause)

    async def _wait(self, seconds: float) -> None:
        """Wait that long, or until woken; never shorter than entries gather."""
        await asyncio.sleep(self._settings.gather_seconds)
        try:
            async with asyncio.timeout(seconds - self._settings.gather_seconds):
                await self._awake.wait()
        except TimeoutError:
            return

    async def _round_or_log(self) -> int:
        """A round; a database that is away for a moment means no numbers for a moment, not the sequencer's end."""
        try:
            largest = await self.sequence_all()
        except DATABASE_GONE as error:
            self._settled_below = self._durable_below = 0
            self._settled_logs = LruCache(_KNOWN_LOGS)
            self._note_reachable(reachable=False, error=error)
            return 0
        # Whatever else goes wrong, nobody awaits this task: it would end unseen, and no log get a number again.
        except Exception as error:  # noqa: BLE001
            _log.error("ledger_round_failed", exc_info=error)
            await asyncio.sleep(self._settings.failure_seconds)
            return 0
        self._note_reachable(reachable=True)
        return largest

    async def find_oldest_pending(self) -> datetime | None:
        """Since when an entry waits for its number, in a log that this process can sign; None when none waits.

        The logs that cannot be signed are in the process's log, one by one.
        """
        async with self._database.transaction_without_scope() as transaction:
            ignored = sorted(self._failing)
            return (await self._repository.measure_pending(transaction, ignored)).oldest

    async def measure_pending(self) -> PendingEntries:
        """How many entries of any log wait for their numbers, and since when."""
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.measure_pending(transaction)

    async def sequence_all(self) -> int:
        """One round: a batch of each log with pending entries. How many the largest had."""
        after, largest, is_settled = _FIRST, 0, True
        running_from: int | None = None
        while True:
            async with self._database.statement_without_scope() as connection:
                pending = await self._repository.list_pending_ledgers(
                    connection, after, self._settled_below, _LOGS_AT_ONCE
                )
            if running_from is None:
                running_from = pending.running_from
            for tenant_id in pending.tenant_ids:
                count = await self._sequence_or_log(tenant_id)
                largest = max(largest, count)
                # Nothing is left of a log of which this took less than it would have. Of none it cannot be said:
                # another process may have it.
                is_settled = is_settled and 0 < count < self._settings.batch
            if len(pending.tenant_ids) < _LOGS_AT_ONCE:
                break
            after = pending.tenant_ids[-1]
        if is_settled:
            self._settled_below = min(running_from, self._durable_below)
        return largest

    async def _sequence_or_log(self, tenant_id: UUID) -> int:
        try:
            count = await self.sequence(tenant_id)
        except KeyUnavailableError as error:
            # Before the next clause, of which it would be one: a key that one tenant lacks is no reason to leave the
            # logs of those after it without numbers.
            _log.error("ledger_key_unavailable", tenant_id=str(tenant_id), reason=error.message)
            self._failing.add(tenant_id)
            return 0
        except DATABASE_GONE:
            raise
        # One tenant's log that cannot be signed, for whatever reason, must not hold up the others'.
        except Exception as error:  # noqa: BLE001
            _log.error("ledger_not_sequenced", tenant_id=str(tenant_id), exc_info=error)
            self._failing.add(tenant_id)
            return 0
        self._failing.discard(tenant_id)
        return count

    async def sequence(self, tenant_id: UUID) -> int:
        """Put a batch of a tenant's pending entries into its log, and sign what has not been signed by its newest key.

        Returns:
            How many entries were put into the log; 0 as well while another process does it.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
        """
        for _ in range(_TRIES):
            # Before the lock: the provider may be far away.
            keys = await self._keys.get(tenant_id)
            count = await self._sequence_with(keys, tenant_id)
            if count is not None:
                return count
            self._keys.forget(tenant_id)
        return 0

    async def _sequence_with(self, keys: SigningKeys, tenant_id: UUID) -> int | None:
        """None when another process has rotated the keys."""
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            head = await self._repository.lock_log(transaction)
            if head is None:
                return 0
            # Of the two the second is that of the locked row itself: a rotation may have committed between this
            # statement's snapshot, which shows the first, and its lock.
            if head.newest_key != keys.number or (head.key_number or 0) > keys.number:
                return None
            numbered = await self._repository.number_pending_entries(
                transaction, self._settings.batch, self._settled_logs.get(tenant_id) or 0
            )
            leaves = numbered.leaves
            if not leaves and head.key_number == keys.number:
                return 0
            growth, checkpoint = await asyncio.get_running_loop().run_in_executor(
                self._thread, grow_and_sign, head.size, head.frontier, leaves, keys
            )
            await self._repository.advance_log(
                transaction, head.size, growth, keys.number, checkpoint
            )
        # Known once it has committed.
        if leaves:
            self._settled_logs.put(tenant_id, numbered.settled_below)
            self._durable_below = max(self._durable_below, numbered.settled_below)
        return len(leaves)

    def _note_reachable(self, *, reachable: bool, error: Exception | None = None) -> None:
        """Log a change once, not every round."""
        if reachable != self._is_reachable:
            self._is_reachable = reachable
            if reachable:
                _log.info("ledger_database_back")
            else:
                _log.warning("ledger_database_gone", error=repr(error))


def next_pause(
    settings: SequencerSettings, pause: float, *, largest: int, was_awake: bool
) -> float:
    """How long to wait after a round.

    Args:
        settings: The pace.
        pause: What was waited before the round.
        largest: How many entries the round put into one log.
        was_awake: Whether something was appended in this process since the round before.
    """
    # A full batch has left others behind it. And whoever woke us may have yet to commit: look again soon, and ever less
    # often.
    if largest >= settings.batch or was_awake:
        return settings.gather_seconds
    return min(2 * pause, settings.poll_seconds)


def grow_and_sign(
    size: int, frontier: Sequence[bytes], leaves: Sequence[bytes], keys: SigningKeys
) -> tuple[Growth, str]:
    """A log with these entries behind its last, and the checkpoint over it."""
    growth = grow(size, frontier, leaves)
    text = checkpoint_text(keys.origin, growth.size, root_of(growth.frontier))
    return growth, sign_note(text, keys.signers)
