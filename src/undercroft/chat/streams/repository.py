"""The streams' statements, one method each."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.streams.models import Lease, OpenTurn, Run, StreamState, Turn
from undercroft.kit.database import Transaction
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.chat.streams")


class StreamRepository:
    """Reads and writes streams and their events."""

    async def insert_stream(
        self,
        transaction: Transaction,
        response_id: UUID,
        holder_id: UUID,
        lease: timedelta,
        sealed_request: bytes,
        turn: Turn | None,
    ) -> None:
        """Begin a stream; its first fence is 1."""
        await _QUERIES.execute(
            transaction,
            "insert_stream",
            response_id,
            holder_id,
            lease,
            sealed_request,
            turn.conversation_id if turn else None,
            turn is not None and turn.is_waiting,
        )

    async def list_open_turns(
        self, transaction: Transaction, conversation_id: UUID
    ) -> list[OpenTurn]:
        """What is made in a locked conversation, or waits to be."""
        rows = await _QUERIES.many(transaction, "list_open_turns", conversation_id)
        return [OpenTurn(**row) for row in rows]

    async def take_turn(self, transaction: Transaction, lease: Lease) -> bool:
        """Have a stream of a locked conversation wait no more; False when it is another's, or gone."""
        taken = await _QUERIES.value(transaction, "take_turn", lease.response_id, lease.fence)
        return taken is not None

    async def list_due_turns(
        self, connection: AnyConnection, response_ids: Sequence[UUID]
    ) -> frozenset[UUID]:
        """Those of the streams before which none is open any more in their conversation."""
        rows = await _QUERIES.many(connection, "list_due_turns", response_ids)
        return frozenset(row["response_id"] for row in rows)

    async def append(
        self, connection: AnyConnection, runs: Sequence[Run], notice: str
    ) -> frozenset[UUID]:
        """Keep runs of many streams at once, at most one of each; whose were accepted."""
        rows = await _QUERIES.many(
            connection,
            "append_events",
            [run.lease.response_id for run in runs],
            [run.lease.fence for run in runs],
            [run.previous for run in runs],
            [run.last for run in runs],
            [run.sealed for run in runs],
            notice,
        )
        return frozenset(row["response_id"] for row in rows)

    async def tell_turn(self, transaction: Transaction, conversation_id: UUID, notice: str) -> None:
        """Tell those who wait for their turn in a conversation."""
        await _QUERIES.execute(transaction, "tell_turn", conversation_id, notice)

    async def hold(self, transaction: Transaction, lease: Lease) -> bool:
        """Keep a lease from changing hands until the transaction ends; False when it has, or the stream is gone."""
        held = await _QUERIES.value(transaction, "hold_stream", lease.response_id, lease.fence)
        return held is not None

    async def begin_tool_call(self, transaction: Transaction, lease: Lease, most: int) -> bool:
        """Count a call of a tool; False where the lease is lost, or as many were made."""
        begun = await _QUERIES.value(
            transaction, "begin_tool_call", lease.response_id, lease.fence, most
        )
        return begun is not None

    async def delete_stream(self, transaction: Transaction, lease: Lease) -> None:
        """Forget a stream that the lease still holds."""
        await _QUERIES.execute(transaction, "delete_stream", lease.response_id, lease.fence)

    async def find_stream(self, transaction: Transaction, response_id: UUID) -> StreamState | None:
        """How far a stream is; None where none is on record."""
        row = await _QUERIES.maybe(transaction, "find_stream", response_id)
        return None if row is None else StreamState(**row)

    async def list_events(
        self, transaction: Transaction, response_id: UUID, after: int, limit: int
    ) -> list[Record]:
        """Runs in their order, from the one that holds the event after that one."""
        return await _QUERIES.many(transaction, "list_events", response_id, after, limit)

    async def request_cancel(
        self, transaction: Transaction, response_id: UUID, notice: str
    ) -> bool:
        """Ask whoever writes a stream to end it; False when it has ended."""
        return await _QUERIES.value(transaction, "request_cancel", response_id, notice) is not None

    async def renew(
        self, connection: AnyConnection, leases: Sequence[Lease], lease: timedelta
    ) -> dict[UUID, bool]:
        """Prolong leases: those that are still held, and whether somebody wants the stream ended."""
        rows = await _QUERIES.many(connection, "renew_leases", *_columns(leases), lease)
        return {row["response_id"]: row["is_cancelled"] for row in rows}

    async def take_over(
        self, connection: AnyConnection, holder_id: UUID, lease: timedelta, limit: int
    ) -> list[Lease]:
        """Take streams whose lease has run out."""
        rows = await _QUERIES.many(connection, "take_over_streams", holder_id, lease, limit)
        return [Lease(**row) for row in rows]

    async def release(self, connection: AnyConnection, leases: Sequence[Lease]) -> None:
        """Give leases up."""
        await _QUERIES.execute(connection, "release_leases", *_columns(leases))

    async def attend(
        self, connection: AnyConnection, response_ids: Sequence[UUID], presence: timedelta
    ) -> dict[UUID, int]:
        """Say that streams are watched; the number of each one's last event."""
        rows = await _QUERIES.many(connection, "attend_streams", response_ids, presence)
        return {row["response_id"]: row["last_number"] for row in rows}

    async def forget(self, connection: AnyConnection, limit: int) -> int:
        """Forget streams that ended a day ago; how many."""
        return int(await _QUERIES.value(connection, "forget_streams", limit))


def _columns(leases: Sequence[Lease]) -> tuple[list[UUID], list[int]]:
    return [lease.response_id for lease in leases], [lease.fence for lease in leases]
