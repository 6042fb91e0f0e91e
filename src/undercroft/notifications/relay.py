"""Telling what the database has noted."""

from typing import Final

import structlog

from undercroft.kit.database import DATABASE_GONE, Database, Transaction
from undercroft.ledger.models import LogScope
from undercroft.notifications.events import render_event
from undercroft.notifications.repository import EventRepository
from undercroft.notifications.service import Notifications

_BATCH: Final = 100

_log: Final = structlog.stdlib.get_logger(__name__)


class EventRelay:
    """Publishes events in the order in which they were noted; any number of workers may do it at once."""

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._database = database
        self._notifications = notifications
        self._repository = EventRepository()

    async def relay(self) -> int:
        """Publish what is there, a batch of each tenant's in one transaction, and again; how much there was."""
        told = 0
        while batch := await self._relay_once():
            told += batch
        return told

    async def _relay_once(self) -> int:
        async with self._database.statement_without_scope() as connection:
            tenant_ids = await self._repository.list_tenants(connection, _BATCH)
        told = 0
        for tenant_id in tenant_ids:
            scope = LogScope(tenant_id)
            try:
                async with self._database.transaction(scope) as transaction:
                    told += await self._relay(transaction, scope)
            except DATABASE_GONE:
                raise
            # Whatever one tenant's events meet must not keep the others for ever.
            except Exception as error:  # noqa: BLE001
                _log.error("events_not_relayed", tenant_id=str(tenant_id), exc_info=error)
        return told

    async def _relay(self, transaction: Transaction, scope: LogScope) -> int:
        # Gone with the transaction that puts its deliveries in line: neither is lost, nor told twice.
        taken = await self._repository.take_events(transaction, _BATCH)
        for row in sorted(taken, key=lambda row: row["id"]):
            try:
                event_type, payload = render_event(row["event_type"], row["facts"])
            except (KeyError, ValueError) as error:
                # Noted by a newer version, or by a mistake of ours: it must not keep the others for ever.
                _log.error("event_dropped", event_type=row["event_type"], exc_info=error)
                continue
            await self._notifications.publish(
                transaction, scope, event_type, payload, row["happened_at"]
            )
        return len(taken)
