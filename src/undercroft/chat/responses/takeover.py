"""Responses whose process has died go on in another one, or end; none is left running that nobody makes.

Before anything of the answer was shown nobody notices: it is made anew, as its asker's rights are now. Afterwards its
text goes on where it was, if its passages are the same and a model is there that can do so; otherwise the response
fails, and says so: another attempt would not say the same. Where its asker wanted that, it is made all the same, as
another item behind what was said.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from pydantic import ValidationError

from undercroft.chat.responses.asked import Asked, open_asked
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.queueing import may_still_ask
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.running import ResponseRuns
from undercroft.chat.responses.work import Work
from undercroft.chat.shown import InterruptedAnswerError
from undercroft.chat.streams.log import open_runs
from undercroft.chat.streams.models import Lease, StreamState
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.streams.service import LEASE, PAGE
from undercroft.chat.streams.writer import OpenStream
from undercroft.chat.tools.errors import InterruptedCallError
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import DATABASE_GONE, Database
from undercroft.kit.ids import IdSource
from undercroft.sharing.errors import AccessRevokedError
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

RENEW_SECONDS: Final = 2.5
TAKE_OVER_SECONDS: Final = 2.0
_AT_ONCE: Final = 20
_SAID: Final = frozenset(
    f"response.{name}.delta"
    for name in (
        "output_text",
        "reasoning",
        "reasoning_summary_text",
        "function_call_arguments",
        "mcp_call_arguments",
    )
)

_log = structlog.stdlib.get_logger(__name__)


class ResponseTakeover:
    """Keeps this process's leases, and takes over what others have left."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ids: IdSource,
        clock: Clock,
        process: StreamProcess,
        runs: ResponseRuns,
    ) -> None:
        self._database = database
        self._keys = keys
        self._ids = ids
        self._clock = clock
        self._process = process
        self._runs = runs
        self._repository = ResponseRepository()

    async def renew(self) -> int:
        """Prolong every lease of this process; how many were lost. What somebody wants ended is ended."""
        running = list(self._runs.running.values())
        if not running:
            return 0
        kept = await self._process.leases.renew([each.lease for each in running], LEASE)
        lost = [each for each in running if each.id not in kept and not each.is_ending]
        for each in lost:
            self._runs.lose(each)
        for each in running:
            if kept.get(each.id):
                each.cancel()
        return len(lost)

    async def take_over(self) -> int:
        """Go on with what others have left; how many responses."""
        # First what is this process's own: it may have been away itself, and be there again.
        await self.renew()
        room = min(_AT_ONCE, self._runs.room.free)
        leases = await self._process.leases.take_over(LEASE, room) if room else []
        for lease in leases:
            try:
                await self._adopt(lease)
            except DATABASE_GONE as error:
                # Its lease runs out again, and somebody tries again.
                _log.warning(
                    "takeover_postponed", response_id=str(lease.response_id), error=repr(error)
                )
            except (KeyDestroyedError, DecryptionError, ValidationError):
                # Nothing of it can be read any more: its watchers are told so, nobody tries again, and nobody who waits
                # for its end waits for ever.
                await self._abandon(lease)
            # Whatever one response meets, it must not keep the others for ever.
            except Exception as error:  # noqa: BLE001
                _log.error("takeover_failed", response_id=str(lease.response_id), exc_info=error)
        return len(leases)

    async def _abandon(self, lease: Lease) -> None:
        async with self._database.transaction(lease) as transaction:
            await self._process.log.forget(transaction, lease)
        self._process.live.moved([lease.response_id])

    async def _adopt(self, lease: Lease) -> None:
        async with self._database.transaction(lease) as transaction:
            row = await self._repository.find_response(transaction, lease.response_id)
            state = await self._process.log.find(transaction, lease.response_id)
            if (
                row is None
                or row["key_id"] is None
                or state is None
                or state.sealed_request is None
            ):
                # Erased or deleted since.
                return
            rows = await self._process.log.read(transaction, lease.response_id, -1)
            while len(rows) % PAGE == 0 and rows and rows[-1]["last_number"] < state.last_number:
                rows += await self._process.log.read(
                    transaction, lease.response_id, rows[-1]["last_number"]
                )
        key = await self._keys.open(row)
        asked = open_asked(key, lease.tenant_id, lease.response_id, state.sealed_request)
        kept = open_runs(key, lease.tenant_id, lease.response_id, rows)
        async with self._database.transaction(asked.asker) as transaction:
            may_ask = await may_still_ask(transaction, asked.asker)
        self._go_on(lease, key, asked, state, kept, may_ask=may_ask)
        await self._runs.left(lease.response_id)

    def _go_on(
        self,
        lease: Lease,
        key: DataKey,
        asked: Asked,
        state: StreamState,
        kept: Sequence[WireObject],
        *,
        may_ask: bool,
    ) -> None:
        request = asked.request
        events = ResponseEvents(
            lease.response_id,
            self._clock.now(),
            request.echo,
            self._ids,
            include_results=request.include_results,
            include_sealed=request.include_sealed,
        )
        events.resume(kept)
        work = Work(asked.asker, request, key, events, lease)
        *broken_off, last = _attempts(kept)
        for attempt in broken_off:
            work.consumption.ask(request.question, _said(attempt))
            work.consumption.break_off()
        if said := _said(last):
            # Whatever becomes of it now, this much was made.
            work.consumption.ask(request.question, said)
        stream = OpenStream(lease, key, state.last_number)
        if state.is_cancelled:
            self._runs.conclude(work, lease, stream, list(events.cancel()))
        elif state.has_called_tools:
            # Whether the last call did something nobody knows; none is made again.
            self._runs.conclude(work, lease, stream, list(events.fail(InterruptedCallError())))
        elif events.has_output and not (may_ask and (events.can_go_on or work.may_begin_again)):
            self._runs.conclude(work, lease, stream, list(events.fail(InterruptedAnswerError())))
        elif not may_ask:
            self._runs.conclude(work, lease, stream, list(events.fail(AccessRevokedError())))
        elif state.is_waiting:
            self._runs.run(work, lease, stream, list(events.queue()))
        else:
            self._runs.run(work, lease, stream)


def _attempts(kept: Iterable[WireObject]) -> list[list[WireObject]]:
    """Those events by the answer that was attempted: where another one began, it says once more that it does."""
    attempts: list[list[WireObject]] = [[]]
    has_begun = False
    for event in kept:
        if event["type"] == "response.in_progress":
            if has_begun:
                attempts.append([])
            has_begun = True
        attempts[-1].append(event)
    return attempts


def _said(kept: Iterable[WireObject]) -> str:
    """What a model has said in those events: text, thoughts, and arguments of calls."""
    return "".join(event["delta"] for event in kept if event["type"] in _SAID)
