"""The log of streams, as those who make and those who watch responses use it, within their own transactions."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.streams.errors import LeaseLostError
from undercroft.chat.streams.models import Event, Lease, OpenTurn, Run, StreamState, Turn
from undercroft.chat.streams.notices import tell_cancel, tell_moved, tell_turn
from undercroft.chat.streams.repository import StreamRepository
from undercroft.chat.streams.writer import OpenStream
from undercroft.kit.database import Transaction

LEASE: Final = timedelta(seconds=10)
"""How long a process that says nothing is believed to live."""
PAGE: Final = 50
"""Runs that are read at once."""


class StreamLog:
    """Begins, ends and reads streams.

    Args:
        process_id: Whose leases these are, and who tells of them.
    """

    def __init__(self, process_id: UUID) -> None:
        self._process_id = process_id
        self._repository = StreamRepository()

    async def begin(
        self,
        transaction: Transaction,
        response_id: UUID,
        sealed_request: bytes,
        turn: Turn | None = None,
    ) -> None:
        """Begin a stream under a lease of this process, whose fence is 1.

        Args:
            transaction: In which its response is kept.
            response_id: The response.
            sealed_request: What whoever takes it over needs.
            turn: Its place in a conversation, which the transaction has locked.
        """
        await self._repository.insert_stream(
            transaction, response_id, self._process_id, LEASE, sealed_request, turn
        )

    async def list_open_turns(
        self, transaction: Transaction, conversation_id: UUID
    ) -> list[OpenTurn]:
        """What is made, or waits to be, in a conversation that the transaction has locked."""
        return await self._repository.list_open_turns(transaction, conversation_id)

    async def is_due(self, transaction: Transaction, lease: Lease) -> bool:
        """Whether those before it in its conversation, which the transaction has locked, have all ended."""
        response_id = lease.response_id
        return bool(await self._repository.list_due_turns(transaction, [response_id]))

    async def take_turn(self, transaction: Transaction, lease: Lease) -> None:
        """Have a stream wait no more: it is due.

        Raises:
            LeaseLostError: When it is another process's, or gone.
        """
        if not await self._repository.take_turn(transaction, lease):
            raise LeaseLostError

    async def hold(self, transaction: Transaction, lease: Lease) -> None:
        """Keep a lease from changing hands until the transaction ends.

        Raises:
            LeaseLostError: When it has, or the stream is gone.
        """
        if not await self._repository.hold(transaction, lease):
            raise LeaseLostError

    async def begin_tool_call(self, transaction: Transaction, lease: Lease, most: int) -> bool:
        """Have it be known that a tool is called for a response, before it is; False where as many were as may be.

        Raises:
            LeaseLostError: When the stream is another process's, or gone.
        """
        if await self._repository.begin_tool_call(transaction, lease, most):
            return True
        await self.hold(transaction, lease)
        return False

    def close(self, stream: OpenStream, closing: Sequence[Event]) -> tuple[Run, str]:
        """The last events of a stream all of whose others are on disk, ready to be kept; and the notice of them."""
        return stream.seal(closing), tell_moved(self._process_id, [stream.lease.response_id])

    async def tell_turn(self, transaction: Transaction, conversation_id: UUID) -> None:
        """Tell who waits in a conversation that a stream of it ends with the transaction."""
        turn = tell_turn(self._process_id, conversation_id)
        await self._repository.tell_turn(transaction, conversation_id, turn)

    async def forget(self, transaction: Transaction, lease: Lease) -> None:
        """Delete a stream that the lease still holds: nothing of it can be read any more."""
        await self._repository.delete_stream(transaction, lease)

    async def find(self, transaction: Transaction, response_id: UUID) -> StreamState | None:
        """How far a stream is; None where none is on record."""
        return await self._repository.find_stream(transaction, response_id)

    async def read(self, transaction: Transaction, response_id: UUID, after: int) -> list[Record]:
        """At most ``PAGE`` runs in their order, from the one that holds the event after that one."""
        return await self._repository.list_events(transaction, response_id, after, PAGE)

    async def request_cancel(self, transaction: Transaction, response_id: UUID) -> bool:
        """Ask whoever writes a stream to end it; False when it has ended."""
        notice = tell_cancel(self._process_id, response_id)
        return await self._repository.request_cancel(transaction, response_id, notice)
