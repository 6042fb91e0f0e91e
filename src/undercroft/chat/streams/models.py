"""Events, runs of them, and the lease under which they are written."""

from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

Event: TypeAlias = dict[str, Any]
"""A JSON object whose ``sequence_number`` is its place in the stream, from 0."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one stream, until another process takes it over with a greater fence.

    It is a scope: its response is read as whoever asked for it.
    """

    tenant_id: UUID
    principal_id: UUID
    response_id: UUID
    fence: int

    @property
    def actor_id(self) -> None:
        """Nobody acts in between."""
        return None

    @property
    def purpose(self) -> None:
        """None is stated."""
        return None


@dataclass(frozen=True, slots=True)
class Turn:
    """A new stream's place in a conversation: behind all that are there.

    Attributes:
        is_waiting: Whether it begins only once those have ended.
    """

    conversation_id: UUID
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A stream of a conversation that has not ended."""

    response_id: UUID
    principal_id: UUID
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Events that follow each other without a gap.

    Attributes:
        lease: Under which they are written.
        previous: The number of the event before the first of them; -1 where there is none.
        last: The number of the last of them.
        sealed: All of them, under the response's key.
    """

    lease: Lease
    previous: int
    last: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a stream is.

    Attributes:
        is_waiting: Whether it waits for its turn in its conversation.
        has_called_tools: Whether a tool elsewhere may have been called for it.
        sealed_request: What whoever takes over needs; None once the stream has ended.
    """

    last_number: int
    is_ended: bool
    is_watched_elsewhere: bool
    is_cancelled: bool
    is_waiting: bool
    has_called_tools: bool
    sealed_request: bytes | None
