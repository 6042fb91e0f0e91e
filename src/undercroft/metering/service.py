"""Holds requests to quotas, and counts what they take.

A request is counted, and the most that it may take reserved, in the transaction that it begins with; what it took is
kept in the one that it ends with, and counted in its quotas right after that, by a statement of its own: whoever stops
in a quota's window keeps nobody waiting who ends something. So neither a crash nor whoever takes it over loses a count
or counts twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Final
from uuid import UUID

import structlog
from asyncpg import LockNotAvailableError

from undercroft.identity.models import Principal
from undercroft.kit.database import DATABASE_GONE, Database, Transaction
from undercroft.kit.doorways import Doorways
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.metering.errors import LargerThanQuotaError, QuotaSpentError
from undercroft.metering.models import Ending, Spent, Standing, UsageKey, UsageRow
from undercroft.metering.repository import MeteringRepository

DEFAULT_OUTPUT: Final = 4096
"""The most tokens of an answer that names no maximum, where a quota of tokens applies."""

_BATCH: Final = 1000

_log = structlog.stdlib.get_logger(__name__)


class Charge:
    """One request that counts.

    Attributes:
        standings: The quotas that it is held to, once it was let begin or was refused.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.standings: Sequence[Standing] = ()
        self._repository = MeteringRepository()

    @property
    def bounds_tokens(self) -> bool:
        """Whether a quota of tokens applies, so that the answer has to be bounded as it was reserved."""
        return any(standing.measure == "tokens" for standing in self.standings)

    async def reserve(
        self,
        transaction: Transaction,
        request_id: UUID,
        model: str,
        tokens: int,
        *others: tuple[UUID, int],
    ) -> None:
        """Count the request, in the transaction that it begins with, late in that.

        Args:
            transaction: What begins it.
            request_id: Under which it is settled.
            model: What answers it.
            tokens: The most that it may take.
            others: Parts of it that are settled by themselves, each with the most that it may take.

        Raises:
            QuotaSpentError: When it does not fit into a quota now. Nothing was counted once that has rolled back.
            LargerThanQuotaError: When it never will.
        """
        subjects = _subjects(self.scope)
        for number, (part_id, part) in enumerate([(request_id, tokens), *others]):
            self.standings = await self._repository.reserve(
                transaction, part_id, subjects, model, part, requests=0 if number else 1
            )
        self._judge(tokens + sum(part for _, part in others))

    async def reserve_alone(
        self, database: Database, request_id: UUID, model: str, tokens: int
    ) -> None:
        """As :meth:`reserve`, by one statement that is a transaction of its own: nothing else begins with it.

        Raises:
            QuotaSpentError: When it does not fit into a quota now. Nothing was counted.
            LargerThanQuotaError: When it never will.
        """
        async with database.scoped_statement() as connection:
            self.standings = await self._repository.reserve_alone(
                connection, self.scope, request_id, _subjects(self.scope), model, tokens
            )
        self._judge(tokens)

    def _judge(self, tokens: int) -> None:
        spent = [standing for standing in self.standings if standing.is_spent]
        for standing in spent:
            if standing.measure == "tokens" and tokens > standing.most > 0:
                raise LargerThanQuotaError(standing, tokens)
        if spent:
            raise QuotaSpentError(spent)


class Metered:
    """A request that is kept nowhere, and ends where it is made.

    Attributes:
        spent: What it has taken so far.
    """

    def __init__(self, metering: "Metering", scope: Scope, request_id: UUID) -> None:
        self._metering = metering
        self._scope = scope
        self._request_id = request_id
        self.spent = Spent()
        self._is_settled = False

    async def settle(self) -> None:
        """Count what it took, unless that is done."""
        if self._is_settled:
            return
        try:
            # Whoever cancels it meanwhile may have it done again: of two the database takes one.
            await self._metering.end_alone(self._scope, self._request_id, self.spent)
        except DATABASE_GONE as error:
            # It was answered. Whoever looks for what was lost ends it.
            _log.warning("usage_not_kept", request_id=str(self._request_id), error=repr(error))
        self._is_settled = True


class Metering:
    """Counts requests and what they take.

    Args:
        database: Where they are counted.
        ids: Names what has no id of its own.

    Attributes:
        doorways: Where whatever counts is let begin.
    """

    def __init__(self, database: Database, ids: IdSource) -> None:
        self._database = database
        self.doorways = Doorways(database)
        self._ids = ids
        self._repository = MeteringRepository()

    @asynccontextmanager
    async def metered(self, charge: Charge, model: str, tokens: int) -> AsyncGenerator[Metered]:
        """Count a request that is kept nowhere, and once the context ends what it took.

        Raises:
            QuotaSpentError: When it does not fit into a quota now.
            LargerThanQuotaError: When it never will.
        """
        request_id = self._ids.new()
        metered = Metered(self, charge.scope, request_id)
        async with self.doorways.through(charge.scope.tenant_id):
            try:
                await charge.reserve_alone(self._database, request_id, model, tokens)
            except asyncio.CancelledError:
                # It may have been counted by then, and nobody else would end it.
                await metered.settle()
                raise
        try:
            yield metered
        finally:
            await metered.settle()

    async def end(self, transaction: Transaction, request_id: UUID, spent: Spent) -> Ending:
        """End a request, in the transaction in which what it made ends; where it is owed then, see :meth:`settle`."""
        return await self._repository.end(transaction, request_id, spent)

    async def settle(self, request_id: UUID) -> None:
        """Count in its quotas what a request took, once the transaction in which it ended is on disk.

        It waits for others in their windows a second at most. What is not settled then is by whoever looks for it.
        """
        try:
            async with self._database.statement_without_scope() as connection:
                await self._repository.settle(connection, request_id)
        except (*DATABASE_GONE, LockNotAvailableError) as error:
            _log.warning("usage_not_settled", request_id=str(request_id), error=repr(error))

    async def end_alone(self, scope: Scope, request_id: UUID, spent: Spent) -> None:
        """End a request by one statement, which is a transaction of its own, and settle it."""
        async with self._database.scoped_statement() as connection:
            ending = await self._repository.end_alone(connection, scope, request_id, spent)
        # Also where it had ended before: whoever ended it may have been cancelled since.
        if ending is not Ending.SETTLED:
            await self.settle(request_id)

    async def list_usage(
        self,
        scope: Scope,
        first: date,
        last: date,
        user_id: UUID | None,
        after: UsageKey | None,
        limit: int,
    ) -> list[UsageRow]:
        """A page of what was used on those days by a user of the principal's tenant, or by all; the last day first."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_usage(
                transaction, first, last, user_id, after, limit
            )


class UsageRounds:
    """Adds up what was used, of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = MeteringRepository()

    async def add_up(self) -> int:
        """Settle what is owed still, and add what is settled to its users' days; how much was added."""
        await self._settle_owed()
        total, count = 0, _BATCH
        while count == _BATCH:
            async with self._database.statement_without_scope() as connection:
                count = await self._repository.add_up(connection, _BATCH)
            total += count
        return total

    async def _settle_owed(self) -> None:
        async with self._database.statement_without_scope() as connection:
            owed = await self._repository.list_owed(connection, _BATCH)
        stopped: set[UUID] = set()
        for tenant_id, request_id in owed:
            # Somebody stays in a window of that tenant: once was enough of waiting for them.
            if tenant_id in stopped:
                continue
            try:
                async with self._database.statement_without_scope() as connection:
                    await self._repository.settle(connection, request_id)
            except LockNotAvailableError:
                stopped.add(tenant_id)

    async def tidy(self) -> int:
        """End what nobody ends any more, and forget what is old; how many."""
        async with self._database.statement_without_scope() as connection:
            closed = await self._repository.close_lost(connection, _BATCH)
            return closed + await self._repository.forget(connection, _BATCH)


def _subjects(scope: Scope) -> list[UUID]:
    """Whose quotas a request counts in, beside the tenant's: who asks, who acts for them, and by which key."""
    subjects = [scope.principal_id]
    if scope.actor_id is not None:
        subjects.append(scope.actor_id)
    if isinstance(scope, Principal):
        subjects.append(scope.credential_id)
    return subjects
