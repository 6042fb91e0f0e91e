"""The statements of mail, one method each."""

from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.mail")


class MailRepository:
    """Reads and writes mail that is to be sent."""

    async def insert_mail(
        self, transaction: Transaction, mail_id: UUID, data_key_id: UUID, sealed: bytes
    ) -> None:
        """Keep a message until it is sent."""
        await _QUERIES.execute(transaction, "insert_mail", mail_id, data_key_id, sealed)

    async def find_mail(self, transaction: Transaction, mail_id: UUID) -> Record | None:
        """A message with its key; None once it was sent, or the tenant's key destroyed."""
        return await _QUERIES.maybe(transaction, "find_mail", mail_id)

    async def delete_mail(self, transaction: Transaction, mail_id: UUID) -> None:
        """Forget a message, and its key with it."""
        await _QUERIES.execute(transaction, "delete_mail", mail_id)

    async def list_overdue_mail(
        self, connection: AnyConnection, limit: int
    ) -> list[tuple[UUID, UUID]]:
        """Every tenant's mail of more than a day ago, the oldest first: tenant and id."""
        rows = await _QUERIES.many(connection, "list_overdue_mail", limit)
        return [(row["tenant_id"], row["mail_id"]) for row in rows]
