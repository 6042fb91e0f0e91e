"""Whose log a proof is of, before it is known who shows it."""

from dataclasses import dataclass
from uuid import UUID

from undercroft.kit.database import Database
from undercroft.kit.ids import parse_id
from undercroft.ledger.models import LogScope
from undercroft.ledger.notes import verifier_key
from undercroft.ledger.repository import LedgerRepository


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log of this installation.

    Attributes:
        verifier_keys: Of every key that it has had, the newest first, in the form of C2SP signed-note.
    """

    scope: LogScope
    verifier_keys: tuple[str, ...]


class LogDirectory:
    """Finds logs by their origins."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = LedgerRepository()

    async def find(self, origin: str) -> KnownLog | None:
        """The log of that name; None when it is another installation's, or nobody's."""
        log_id = parse_id("", origin.rpartition("/")[2])
        tenant_id = None if log_id is None else await self._find_tenant(log_id)
        return None if tenant_id is None else await self.find_of(tenant_id)

    async def find_of(self, tenant_id: UUID) -> KnownLog | None:
        """A tenant's log; None while it has no key."""
        scope = LogScope(tenant_id)
        async with self._database.transaction(scope) as transaction:
            keys = await self._repository.list_public_keys(transaction, tenant_id)
        known = tuple(verifier_key(name, public) for name, public in keys)
        return KnownLog(scope, known) if known else None

    async def _find_tenant(self, log_id: UUID) -> UUID | None:
        async with self._database.statement_without_scope() as connection:
            return await self._repository.find_log_tenant(connection, log_id)
