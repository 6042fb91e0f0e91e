"""What makes and shows responses in a test: one process's streams, over the test's database."""

from undercroft.chat.responses.room import RunLimits
from undercroft.chat.streams.process import StreamProcess
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource

AT_ONCE = RunLimits(grace_seconds=0)
"""Whoever leaves ends what they watched, and has left once it has ended."""


def open_process(database: Database) -> StreamProcess:
    """A process of its own."""
    return StreamProcess.over(database, IdSource())
