"""What one process has of streams: its writer, its watchers, its name."""

from dataclasses import dataclass
from typing import Self
from uuid import UUID

from undercroft.chat.streams.leases import Leases
from undercroft.chat.streams.live import LiveStreams
from undercroft.chat.streams.service import StreamLog
from undercroft.chat.streams.writer import EventWriter
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource


@dataclass(frozen=True, slots=True)
class StreamProcess:
    """One process among those that make responses.

    Attributes:
        id: By which leases and notices name it.
        database: For leases and events; its connections should be of its own.
    """

    id: UUID
    database: Database
    live: LiveStreams
    writer: EventWriter
    log: StreamLog
    leases: Leases

    @classmethod
    def over(cls, database: Database, ids: IdSource) -> Self:
        """A process of a new name."""
        live, process_id = LiveStreams(), ids.new()
        writer = EventWriter(database, live, process_id)
        return cls(
            process_id, database, live, writer, StreamLog(process_id), Leases(database, process_id)
        )
