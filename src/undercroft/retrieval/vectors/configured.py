"""The index outside that the settings name."""

from typing import TYPE_CHECKING

from undercroft.kit.clock import Clock
from undercroft.kit.settings import Settings

if TYPE_CHECKING:
    from undercroft.retrieval.vectors.points import Points


def open_points(settings: Settings, clock: Clock, seconds: float | None = None) -> "Points | None":
    """Vectors in the configured Qdrant; None where none is. Nothing is asked of it yet.

    Args:
        settings: Where it is.
        clock: For its circuit.
        seconds: Deadline of a call; by default that of a search.
    """
    if settings.qdrant_url is None:
        return None
    # Half a second of a processor that only whoever has configured it spends.
    from qdrant_client import AsyncQdrantClient  # noqa: PLC0415

    from undercroft.retrieval.vectors.points import Points  # noqa: PLC0415

    key = settings.qdrant_key
    client = AsyncQdrantClient(
        url=str(settings.qdrant_url).rstrip("/"),
        # As a header: as an argument the client would warn of a server within a closed network.
        headers={} if key is None else {"api-key": key.get_secret_value()},
        timeout=60,
        check_compatibility=False,
        trust_env=False,
    )
    return Points(client, clock, seconds=seconds or settings.qdrant_seconds)
