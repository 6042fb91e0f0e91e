"""The statements about quotas and usage, one method each."""

import math
from collections.abc import Sequence
from datetime import date
from typing import Final, Literal, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.metering.models import (
    NOBODY,
    Ending,
    KeptQuota,
    Period,
    Quota,
    QuotaKind,
    Spent,
    Standing,
    UsageKey,
    UsageRow,
    Whose,
)

_QUERIES: Final = load_queries("undercroft.metering")


class MeteringRepository:
    """Reads and writes quotas, their windows and what was used."""

    async def reserve(
        self,
        transaction: Transaction,
        request_id: UUID,
        subject_ids: Sequence[UUID],
        model: str,
        tokens: int,
        requests: int,
    ) -> list[Standing]:
        """Begin a request of the principal, or a part of one; the counts that it is held to, with it."""
        rows = await _QUERIES.many(
            transaction, "reserve_usage", request_id, subject_ids, model, tokens, requests
        )
        return [standing for row in rows for standing in _read_standings(row)]

    async def reserve_alone(
        self,
        connection: AnyConnection,
        scope: Scope,
        request_id: UUID,
        subject_ids: Sequence[UUID],
        model: str,
        tokens: int,
    ) -> list[Standing]:
        """As :meth:`reserve`, in a transaction of its own; where it does not fit nothing is counted."""
        rows = await _QUERIES.many(
            connection,
            "reserve_usage_alone",
            scope.tenant_id,
            scope.principal_id,
            request_id,
            subject_ids,
            model,
            tokens,
        )
        return [standing for row in rows for standing in _read_standings(row)]

    async def end(self, transaction: Transaction, request_id: UUID, spent: Spent) -> Ending:
        """Keep what a request took, which has come to its end."""
        taken = spent.columns()
        return Ending(await _QUERIES.value(transaction, "end_usage", request_id, *taken))

    async def end_alone(
        self, connection: AnyConnection, scope: Scope, request_id: UUID, spent: Spent
    ) -> Ending:
        """As :meth:`end`, in a transaction of its own."""
        return Ending(
            await _QUERIES.value(
                connection,
                "end_usage_alone",
                scope.tenant_id,
                scope.principal_id,
                request_id,
                *spent.columns(),
            )
        )

    async def settle(self, connection: AnyConnection, request_id: UUID) -> None:
        """Count what a request took in the windows that it is held to, unless that is done, or is being done."""
        await _QUERIES.value(connection, "settle_request", request_id)

    async def list_owed(self, connection: AnyConnection, limit: int) -> list[tuple[UUID, UUID]]:
        """Requests that have ended and are not settled, of all tenants, each with its tenant before it."""
        rows = await _QUERIES.many(connection, "list_owed_requests", limit)
        return [(row["tenant_id"], row["id"]) for row in rows]

    async def add_up(self, connection: AnyConnection, limit: int) -> int:
        """Add requests that have ended to their days, of all tenants; how many."""
        return cast("int", await _QUERIES.value(connection, "add_up_usage", limit))

    async def close_lost(self, connection: AnyConnection, limit: int) -> int:
        """End requests that nobody ends any more, of all tenants; how many."""
        return cast("int", await _QUERIES.value(connection, "close_lost_usage", limit))

    async def forget(self, connection: AnyConnection, limit: int) -> int:
        """Forget old days and windows, of all tenants; how many."""
        return cast("int", await _QUERIES.value(connection, "forget_usage", limit))

    async def list_usage(
        self,
        transaction: Transaction,
        first: date,
        last: date,
        user_id: UUID | None,
        after: UsageKey | None,
        limit: int,
    ) -> list[UsageRow]:
        """What was used, the last day first; of one user or of all."""
        day, after_id, model = after or (None, None, None)
        rows = await _QUERIES.many(
            transaction, "list_usage", first, last, user_id, day, after_id or NOBODY, model, limit
        )
        return [UsageRow(**row) for row in rows]

    async def list_quotas(self, transaction: Transaction) -> list[KeptQuota]:
        """The tenant's quotas."""
        rows = await _QUERIES.many(transaction, "list_quotas")
        return [KeptQuota(_read_quota(row), row["requests"], row["tokens"]) for row in rows]

    async def lock_subject(self, transaction: Transaction, whose: Whose) -> bool:
        """Keep a user or a key from being removed until the transaction ends; False when there is none."""
        if whose.id is None:
            return True
        if whose.kind is QuotaKind.USER:
            return await _QUERIES.value(transaction, "lock_user", whose.id) is not None
        return await _QUERIES.value(transaction, "lock_key", whose.id) is not None

    async def set_quota(self, transaction: Transaction, quota: Quota) -> None:
        """Keep a quota in the place of the one before."""
        whose = quota.whose
        await _QUERIES.execute(
            transaction,
            "set_quota",
            whose.kind,
            whose.id if whose.kind is QuotaKind.USER else None,
            whose.id if whose.kind is QuotaKind.KEY else None,
            quota.period,
            quota.requests,
            quota.tokens,
        )

    async def delete_quota(self, transaction: Transaction, whose: Whose, period: Period) -> bool:
        """Delete a quota; False when there is none."""
        deleted = await _QUERIES.execute(transaction, "delete_quota", whose.kind, whose.id, period)
        return deleted == 1


def _read_standings(row: Record) -> list[Standing]:
    kind, period = QuotaKind(row["kind"]), Period(row["period"])
    seconds = max(1, math.ceil(row["seconds_left"]))
    counts: tuple[tuple[Literal["requests", "tokens"], int | None, int], ...] = (
        ("requests", row["most_requests"], row["requests"]),
        ("tokens", row["most_tokens"], row["tokens"]),
    )
    return [
        Standing(kind, period, measure, most, used, row["ends_at"], seconds)
        for measure, most, used in counts
        if most is not None
    ]


def _read_quota(row: Record) -> Quota:
    whose = Whose(QuotaKind(row["kind"]), row["user_id"] or row["key_id"])
    return Quota(whose, Period(row["period"]), row["most_requests"], row["most_tokens"])
