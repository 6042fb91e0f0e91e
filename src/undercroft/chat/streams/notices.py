"""What processes tell each other about streams: which have new events, and which are to end. No content is in it."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol
from uuid import UUID

CHANNEL: Final = "response_streams"
_LARGEST: Final = 200
"""A notice has at most 8,000 bytes; where more streams have moved than that holds, it does not say which."""
_MOVED: Final = "moved"
_CANCEL: Final = "cancel"
_TURN: Final = "turn"


class Hearer(Protocol):
    """Is told what other processes say."""

    def moved(self, response_ids: Sequence[UUID] | None) -> None:
        """These streams have new events; None: any of them may have."""
        ...

    def wanted_ended(self, response_id: UUID) -> None:
        """Somebody wants this response ended."""
        ...

    def turn_ended(self, conversation_id: UUID) -> None:
        """A response of this conversation has ended."""
        ...


def tell_moved(holder_id: UUID, response_ids: Iterable[UUID]) -> str:
    """That a process has added to streams."""
    moved = [each.hex for each in response_ids]
    return " ".join((_MOVED, holder_id.hex, *(moved if len(moved) <= _LARGEST else ())))


def tell_cancel(holder_id: UUID, response_id: UUID) -> str:
    """That a response is to end."""
    return f"{_CANCEL} {holder_id.hex} {response_id.hex}"


def tell_turn(holder_id: UUID, conversation_id: UUID) -> str:
    """That a response has ended in a conversation."""
    return f"{_TURN} {holder_id.hex} {conversation_id.hex}"


def hear(own_id: UUID, notice: str, hearer: Hearer) -> None:
    """Pass a notice on, unless it is this process's own."""
    kind, holder, *ids = notice.split(" ")
    if holder == own_id.hex:
        return
    named = [UUID(hex=each) for each in ids]
    if kind == _MOVED:
        hearer.moved(named or None)
    elif kind == _CANCEL:
        hearer.wanted_ended(named[0])
    elif kind == _TURN:
        hearer.turn_ended(named[0])
