"""Runs of events as they are kept: under the response's key, bound to their place in the stream."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from asyncpg import Record

from undercroft.chat.streams.models import Event, Lease, Run
from undercroft.kit.crypto.aead import bind
from undercroft.kit.crypto.sealed_json import seal_json, unseal_json
from undercroft.vault.keys.models import DataKey


def seal_run(key: DataKey, lease: Lease, previous: int, events: Sequence[Event]) -> Run:
    """Events that follow the one numbered ``previous``, ready to be kept."""
    place = events_place(lease.tenant_id, lease.response_id, previous + 1)
    last = previous + len(events)
    return Run(lease, previous, last, seal_json(key.material, events, place))


def open_runs(
    key: DataKey, tenant_id: UUID, response_id: UUID, rows: Iterable[Record]
) -> list[Event]:
    """The events of kept runs, in their order.

    Raises:
        DecryptionError: When one is not what was kept.
    """
    events: list[Event] = []
    for row in rows:
        place = events_place(tenant_id, response_id, row["previous_number"] + 1)
        events += unseal_json(key.material, row["sealed_events"], place)
    return events


def events_place(tenant_id: UUID, response_id: UUID, first: int) -> bytes:
    """What a sealed run is bound to: the stream, and the number of its first event."""
    return bind(tenant_id, "response_events", response_id, "events", first)
