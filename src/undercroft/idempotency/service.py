"""Keeps the answers of requests that bring an idempotency key, in the transaction of what they have done."""

import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from undercroft.kit.database import Database, Transaction
from undercroft.kit.expiry import delete_expired
from undercroft.kit.ids import IdSource
from undercroft.kit.joined import JoinedTransaction
from undercroft.kit.scope import Scope
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


class MadeBeforeError(Exception):
    """What is to be made was made before, under the same key: not a failure either."""

    def __init__(self, made_id: str) -> None:
        super().__init__()
        self.made_id = made_id


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

    @asynccontextmanager
    async def carrying_out(self, scope: Scope, key: RequestKey) -> AsyncGenerator["CarriedOut"]:
        """Have all that this task does under ``scope`` commit together with a key and the answer, or not at all.

        The first unit of work claims the key.

        Raises:
            AnsweredError: From that unit, as all of these: when the request was carried out before.
            OtherRequestError: When the key was used for another one.
            StillGoingOnError: When it is being carried out.
            AnswerErasedError: When what it was about is gone.
            TooManyKeysError: When the principal has as many as are kept.
        """
        claim_id = self._ids.new()

        async def claim(transaction: Transaction) -> None:
            await self._claim(transaction, scope, claim_id, key)

        async def keep(transaction: Transaction, answer: Answer) -> None:
            await self._keep(transaction, scope, claim_id, key, answer)

        async with self._database.joined(scope, claim) as joined:
            yield CarriedOut(key.route, joined, keep)

    async def find_made(self, scope: Scope, key: RequestKey) -> str | None:
        """The id of what was made under a key by :meth:`make_once`; None when nothing was.

        Raises:
            OtherRequestError: When the key was used for another request.
            AnswerErasedError: When what was made is gone.
        """
        answer = await self.find(scope, key)
        return None if answer is None else answer.body.decode()

    async def make_once(
        self, transaction: Transaction, scope: Scope, key: RequestKey, made_id: str
    ) -> None:
        """Claim a key for what a transaction makes and is not the end of; whoever repeats the request finds that.

        Args:
            transaction: What makes it, which this comes first in.
            scope: Who makes it.
            key: The key.
            made_id: What is made, by its id on the wire.

        Raises:
            MadeBeforeError: When it was made before.
            OtherRequestError: When the key was used for another request.
            StillGoingOnError: When it is being made, and its transaction does not end in time.
            AnswerErasedError: When what was made is gone.
            TooManyKeysError: When the principal has as many as are kept.
        """
        claim_id = self._ids.new()
        try:
            await self._claim(transaction, scope, claim_id, key)
        except AnsweredError as known:
            raise MadeBeforeError(known.answer.body.decode()) from None
        answer = Answer(200, [], made_id.encode(), [made_id])
        await self._keep(transaction, scope, claim_id, key, answer)

    async def forget_expired(self) -> int:
        """Delete the keys whose day is over, of all tenants; how many."""
        return await delete_expired(
            self._database,
            _BATCH,
            find=self._repository.list_expired_keys,
            scope_of=LogScope,
            delete=self._repository.delete_keys,
        )

    async def _claim(
        self, transaction: Transaction, scope: Scope, claim_id: UUID, key: RequestKey
    ) -> None:
        outcome = await self._repository.claim_key(
            transaction, claim_id, key.route, key.digest(scope), self._most
        )
        if outcome == "claimed":
            return
        if outcome == "full":
            raise TooManyKeysError
        answer = None if outcome == "busy" else await self._find(transaction, scope, key)
        if answer is None:
            raise StillGoingOnError
        raise AnsweredError(answer)

    async def _keep(
        self,
        transaction: Transaction,
        scope: Scope,
        claim_id: UUID,
        key: RequestKey,
        answer: Answer,
    ) -> None:
        if len(answer.body) > LARGEST_ANSWER:
            raise AnswerTooLargeError
        data_key = await self._keys.create(transaction, scope)
        sealed = seal_answer(data_key.material, key, answer, scope.tenant_id, claim_id)
        await self._repository.keep_answer(transaction, claim_id, data_key.id, sealed)
        await self._repository.insert_subjects(transaction, claim_id, answer.subjects())

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
        route: str,
        joined: JoinedTransaction,
        keep: Callable[[Transaction, Answer], Awaitable[None]],
    ) -> None:
        self._route = route
        self._joined = joined
        self._keep = keep

    async def keep(self, answer: Answer) -> None:
        """Keep the answer and commit it with what was done. Where nothing was, there is nothing to keep either.

        Raises:
            AnswerTooLargeError: When it is too large.
            RuntimeError: When a part of the work failed and the rest went on: a defect, which a test has to find.
        """
        if self._joined.has_ended:
            raise RuntimeError(f"{self._route} answers well after a unit of its work has failed")
        if self._joined.connection is None:
            return
        await self._keep(self._joined.connection, answer)
        await self._joined.commit()


@dataclass(frozen=True, slots=True)
class Once:
    """A request that makes one thing, whose making goes on after its transaction."""

    keys: IdempotencyKeys
    scope: Scope
    key: RequestKey

    async def claim(self, transaction: Transaction, made_id: str) -> None:
        """See :meth:`IdempotencyKeys.make_once`."""
        await self.keys.make_once(transaction, self.scope, self.key, made_id)
