"""How many responses a process makes at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How many responses a process makes, and for whom.

    Attributes:
        grace_seconds: How long a response that nobody watches goes on, for its watcher to return.
        most: How many are made at once.
    """

    grace_seconds: float = 10.0
    most: int = 1000
