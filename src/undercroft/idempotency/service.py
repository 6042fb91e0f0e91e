"""Keeps the answers of requests that bring an idempotency key, in the transaction of what they have done."""

import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.idempotency.errors import (
    AnswerErasedError,
    AnswerTooLargeError,
    OtherRequestError,
    StillGoingOnError,
    TooManyKeysError,
)
from undercroft.idempotency.models import Answer, RequestKey, open_answer, seal_answer
from undercroft.idempotency.repository import IdempotencyRepository
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.joined import JoinedTransaction
from undercroft.ledger.models import LogScope

MOST_KEYS: Final = 10_000
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of one principal's answers, which are kept for a day."""

LARGEST_ANSWER: Final = 1024 * 1024

_BATCH: Final = 500


class AnsweredError(Exception):
    """The request was carried out before: not a failure, but the end of carrying it out again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class IdempotencyKeys:
    """Claims keys, keeps answers under them, and gives them again.

    Args:
        database: Where they are.
        keys: Seal and open the answers.
        ids: Names them.
        most_keys: How many of one principal are kept.
    """

    def __init__(
        self, database: Database, keys: RowKeys, ids: IdSource, most_keys: int = MOST_KEYS
    ) -> None:
        self._database = database
        self._keys = keys
        self._ids = ids
        self._most = (most_keys, MOST_BYTES)
        self._repository = IdempotencyRepository()

    async def find(self, scope: Scope, key: RequestKey) -> Answer | None:
        """What the request was answered; None when it was not carried out.

        Raises:
            OtherRequestError: When the key was used for another one.
            AnswerErasedError: When what it was about is gone.
        """
        async with self._database.transaction(scope) as transaction:
            return await self._find(transaction, scope, key)

    async def claim(
        self,
        transaction: Transaction,
        scope: Scope,
        key: RequestKey,
    ) -> UUID:
        """Take a key, first of all in the transaction of what the request does; both commit together, or neither.

        Args:
            transaction: Opened for ``scope``.
            scope: Who asks.
            key: Theirs.

        Returns:
            The claim, for :meth:`keep`.

        Raises:
            AnsweredError: When the request was carried out before.
            OtherRequestError: When the key was used for another one.
            StillGoingOnError: When it is being carried out.
            AnswerErasedError: When what it was about is gone.
            TooManyKeysError: When the principal has as many as are kept.
        """
        claim_id = self._ids.new()
        outcome = await self._repository.claim_key(
            transaction, claim_id, key.route, key.digest(scope), self._most
        )
        if outcome == "claimed":
            return claim_id
        if outcome == "full":
            raise TooManyKeysError
        answer = None if outcome == "busy" else await self._find(transaction, scope, key)
        if answer is None:
            raise StillGoingOnError
        raise AnsweredError(answer)

    async def keep(
        self,
        transaction: Transaction,
        scope: Scope,
        claim_id: UUID,
        key: RequestKey,
        answer: Answer,
    ) -> None:
        """Keep the answer of a request that was carried out, in the transaction that has done it.

        Raises:
            AnswerTooLargeError: When it is too large.
        """
        if len(answer.body) > LARGEST_ANSWER:
            raise AnswerTooLargeError
        data_key = await self._keys.create(transaction, scope)
        sealed = seal_answer(data_key.material, key, answer, scope.tenant_id, claim_id)
        await self._repository.keep_answer(transaction, claim_id, data_key.id, sealed)
        await self._repository.insert_subjects(transaction, claim_id, answer.subjects())

    async def refer(
        self, transaction: Transaction, scope: Scope, key: RequestKey, thing: str
    ) -> None:
        """Take a key for a thing that is made in the same transaction and goes on being made after it.

        Whoever brings the key again is told which it is, by ``things`` of the answer, and attaches to it.

        Raises:
            AnsweredError: As :meth:`claim` does, and with it all others.
        """
        claim_id = await self.claim(transaction, scope, key)
        await self.keep(transaction, scope, claim_id, key, Answer(0, (), b"", (thing,)))

    @asynccontextmanager
    async def carrying_out(self, scope: Scope, key: RequestKey) -> AsyncGenerator["CarriedOut"]:
        """Have all that this task does under ``scope`` commit together with a key and the answer, or not at all.

        The first unit of work raises what :meth:`claim` does.
        """
        claims: list[UUID] = []

        async def begin(transaction: Transaction) -> None:
            claims.append(await self.claim(transaction, scope, key))

        async with self._database.joined(scope, begin) as joined:
            yield CarriedOut(self, scope, key, joined, claims)

    async def forget_expired(self) -> int:
        """Delete the keys whose day is over, of all tenants; how many."""
        async with self._database.statement_without_scope() as connection:
            expired = await self._repository.list_expired_keys(connection, _BATCH)
        forgotten = 0
        for tenant_id, rows in groupby(sorted(expired), lambda row: row[0]):
            async with self._database.transaction(LogScope(tenant_id)) as transaction:
                forgotten += await self._repository.delete_keys(
                    transaction, [key_id for _, key_id in rows]
                )
        return forgotten

    async def _find(self, transaction: Transaction, scope: Scope, key: RequestKey) -> Answer | None:
        row = await self._repository.find_key(transaction, key.route, key.digest(scope))
        if row is None:
            return None
        if row["sealed_answer"] is None:
            raise AnswerErasedError
        return await self._open(row, key)

    async def _open(self, row: Record, key: RequestKey) -> Answer:
        data_key = await self._keys.open(row)
        request, answer = open_answer(
            data_key.material, key, row["sealed_answer"], row["tenant_id"], row["id"]
        )
        # Of what is sealed nobody learns anything by the time that this takes, but whoever reads it need not wonder.
        if not hmac.compare_digest(request, key.request):
            raise OtherRequestError
        return answer


class CarriedOut:
    """What was done for one request, in one transaction that has not committed yet."""

    def __init__(
        self,
        keys: IdempotencyKeys,
        scope: Scope,
        key: RequestKey,
        joined: JoinedTransaction,
        claims: list[UUID],
    ) -> None:
        self._keys = keys
        self._scope = scope
        self._key = key
        self._joined = joined
        self._claims = claims

    async def keep(self, answer: Answer) -> None:
        """Keep the answer and commit it with what was done. Where nothing was, there is nothing to keep either.

        Raises:
            AnswerTooLargeError: When it is too large.
            RuntimeError: When a part of the work failed and the rest went on: a defect, which a test has to find.
        """
        if self._joined.has_ended:
            raise RuntimeError(
                f"{self._key.route} answers well after a unit of its work has failed"
            )
        if self._joined.connection is None:
            return
        await self._keys.keep(
            self._joined.connection, self._scope, self._claims[0], self._key, answer
        )
        await self._joined.commit()
