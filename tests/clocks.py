"""A clock for tests."""

from datetime import UTC, datetime


class SetClock:
    """Stands still until its seconds, since 1970 and of either kind, are set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds
