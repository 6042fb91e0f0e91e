"""Appending to the ledger, in the transaction of what is appended: neither exists without the other."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog

from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.lru import LruCache
from undercroft.kit.scope import Scope
from undercroft.kit.sql import NoRowError
from undercroft.ledger.leaves import encode_leaf
from undercroft.ledger.models import (
    OPERATOR_ID,
    TENANT_PREFIX,
    Act,
    NewEntry,
    Subject,
    actor_of,
)
from undercroft.ledger.repository import LedgerRepository

MOST_ACTS: Final = 1000
"""In one call of ``append``."""

_CACHED_SALTS: Final = 10_000
_CACHED_LOGS: Final = 10_000


class Ledger:
    """Writes entries. They get their numbers later, from the sequencer.

    Args:
        database: For the transactions that denials have of their own.
        ids: Makes the entries' ids.
        clock: Says when the acts happened.
        wake: Tells the sequencer of this process, if it has one, that there will be work.
    """

    def __init__(
        self,
        database: Database,
        ids: IdSource,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._wake = wake
        self._repository = LedgerRepository()
        self._salts: LruCache[UUID, bytes] = LruCache(_CACHED_SALTS)
        self._logs: LruCache[UUID, UUID] = LruCache(_CACHED_LOGS)

    async def append(self, transaction: Transaction, scope: Scope, *acts: Act) -> list[UUID]:
        """Append acts of the scope's principal in the caller's own transaction, in one statement.

        Where a service acts for the principal, the acts are the service's, on behalf of the principal.

        Args:
            transaction: Opened for ``scope``.
            scope: The tenant, and who acted.
            *acts: What was done, in order; at most 1,000.

        Returns:
            The entries' ids, in the same order.

        Raises:
            NoRowError: When the actor, or one on whose behalf they act, is no user of the tenant any more.
            ValueError: When there are more than 1,000 acts.
        """
        if len(acts) > MOST_ACTS:
            raise ValueError(f"{len(acts)} acts are too many for one call")
        if not acts:
            return []
        actor_id, served = actor_of(scope), current_trace()
        if scope.actor_id is not None:
            acts = tuple(replace(act, on_behalf_of=scope.principal_id) for act in acts)
        log_id = await self._find_log(transaction, scope.tenant_id)
        users = {actor_id, *(act.on_behalf_of for act in acts if act.on_behalf_of is not None)}
        salts = await self._find_salts(transaction, scope.tenant_id, users - {OPERATOR_ID})
        moment = self._clock.now()
        entries: list[NewEntry] = []
        for act in acts:
            entry_id, trace = self._ids.new(), act.trace or served
            leaf = encode_leaf(entry_id, log_id, moment, actor_id, act, salts, trace)
            entries.append(NewEntry(entry_id, moment, act, trace, leaf))
        if len(entries) == 1:
            await self._repository.insert_entry(transaction, scope, entries[0])
        else:
            await self._repository.insert_entries(transaction, scope, entries)
        self._wake()
        return [entry.id for entry in entries]

    async def append_denial(self, scope: Scope, *acts: Act) -> None:
        """Append what was refused, in a transaction of its own: that of the refused act comes to nothing.

        Raises:
            NoRowError: When the actor is no user of the tenant any more.
        """
        async with self._database.transaction(scope) as transaction:
            await self.append(transaction, scope, *acts)

    async def tenant(self, transaction: Transaction, tenant_id: UUID) -> Subject:
        """The tenant itself, for acts on its keys and its audit."""
        salt = await self._repository.get_log_salt(transaction, tenant_id)
        return Subject(render_id(TENANT_PREFIX, tenant_id), salt)

    async def _find_log(self, transaction: Transaction, tenant_id: UUID) -> UUID:
        log_id = self._logs.get(tenant_id)
        if log_id is None:
            log_id = await self._repository.get_log_id(transaction, tenant_id)
            self._logs.put(tenant_id, log_id)
        return log_id

    async def _find_salts(
        self, transaction: Transaction, tenant_id: UUID, users: Iterable[UUID]
    ) -> Mapping[UUID, bytes]:
        salts = {user_id: self._salts.get(user_id) for user_id in users}
        missing = [user_id for user_id, salt in salts.items() if salt is None]
        found: dict[UUID, bytes] = {}
        if missing:
            found = await self._repository.list_user_salts(transaction, tenant_id, missing)
            if len(found) < len(missing):
                raise NoRowError("list_user_salts")
            for user_id, salt in found.items():
                self._salts.put(user_id, salt)
        return found | {user_id: salt for user_id, salt in salts.items() if salt is not None}


def current_trace() -> str | None:
    """The number of the request that is being served, which its log lines carry as well."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return request_id if isinstance(request_id, str) else None
