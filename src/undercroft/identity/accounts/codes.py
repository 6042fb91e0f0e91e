"""Codes that are sent by mail: made, and used once."""

import os
from collections.abc import Callable
from uuid import UUID

from undercroft.identity.accounts.errors import WrongCodeError
from undercroft.identity.accounts.models import (
    MOST_CODES,
    MailCode,
    Visitor,
    hash_code,
    make_code,
)
from undercroft.identity.accounts.repository import AccountRepository
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource


class Codes:
    """Makes codes, and finds what one that comes back is good for."""

    def __init__(
        self, database: Database, ids: IdSource, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._database = database
        self._ids = ids
        self._entropy = entropy
        self._repository = AccountRepository()

    async def issue(self, transaction: Transaction, tenant_id: UUID, code: MailCode) -> str | None:
        """A new code; None when the person has enough good ones of its purpose.

        So nobody's mailbox is filled by others, and none of the codes in it goes void because others ask for more.
        """
        if await self._repository.count_codes(transaction, tenant_id, code) >= MOST_CODES:
            return None
        text = make_code(self._entropy)
        digest = require_hash(text)
        await self._repository.insert_code(transaction, self._ids.new(), tenant_id, code, digest)
        return text

    async def find(self, text: str) -> tuple[Visitor, MailCode]:
        """What a code is good for, and in which tenant, with nobody acting in it; the code stays good.

        Raises:
            WrongCodeError: When it is good for nothing.
        """
        digest = require_hash(text)
        async with self._database.statement_without_scope() as connection:
            tenant_id = await self._repository.find_tenant_of_code(connection, digest)
        if tenant_id is None:
            raise WrongCodeError
        visitor = Visitor(tenant_id)
        async with self._database.transaction(visitor) as transaction:
            code = await self._repository.find_code(transaction, digest)
        if code is None:
            raise WrongCodeError
        return visitor, code

    async def use(self, transaction: Transaction, text: str) -> None:
        """Use a code up, if the transaction commits.

        Raises:
            WrongCodeError: When it was used meanwhile, or has become too old.
        """
        if not await self._repository.take_code(transaction, require_hash(text)):
            raise WrongCodeError


def require_hash(text: str) -> bytes:
    """The hash of a code.

    Raises:
        WrongCodeError: When it cannot be one.
    """
    digest = hash_code(text)
    if digest is None:
        raise WrongCodeError
    return digest
