"""How long, how often and how much: what one model server may take of a request."""

from dataclasses import dataclass

from undercroft.kit.clock import Clock


@dataclass(frozen=True, slots=True)
class Budgets:
    """What one model server may take; seconds and bytes.

    Attributes:
        connect: For a connection, the wait for a free one in the pool included.
        first_token: From the request to its first text, retries included.
        between_tokens: From one event to the next. Comments that only keep the connection open do not count.
        whole: For a generation.
        listing: For ``GET /models``.
        listing_fresh: How long a list of models is used again.
        listing_failed: How long a server that could not list is not asked again.
        event_bytes: The longest event.
        response_bytes: The longest response.
        attempts: How often a request is sent until its first text arrives.
        backoff: The first retry waits a random part of this, each further one of twice as much.
        longest_pause: The longest wait for a retry; when the server asks for a longer one, the caller is told.
    """

    connect: float = 5.0
    first_token: float = 120.0
    between_tokens: float = 60.0
    whole: float = 900.0
    listing: float = 3.0
    listing_fresh: float = 30.0
    listing_failed: float = 10.0
    event_bytes: int = 256 * 1024
    response_bytes: int = 16 * 1024 * 1024
    attempts: int = 3
    backoff: float = 0.25
    longest_pause: float = 2.0


class Patience:
    """Until when to wait for the server, over all attempts at one generation; begins when it is made.

    Args:
        clock: For deadlines.
        budgets: What the server may take.
        seconds: What is left for the generation in all, where others have had a part of it; None where nobody says.
    """

    def __init__(self, clock: Clock, budgets: Budgets, seconds: float | None = None) -> None:
        now = clock.monotonic()
        whole = budgets.whole if seconds is None else min(seconds, budgets.whole)
        self._clock = clock
        self._between_tokens = budgets.between_tokens
        self._whole = now + whole
        self._deadline = min(now + budgets.first_token, self._whole)

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._deadline - self._clock.monotonic()

    def renew(self) -> None:
        """Begins the wait for the next token."""
        self._deadline = min(self._clock.monotonic() + self._between_tokens, self._whole)
