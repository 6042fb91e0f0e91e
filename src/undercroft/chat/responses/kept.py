"""Responses as they are kept: read, with what they were made from asked anew, and deleted."""

from contextlib import AbstractAsyncContextManager
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.carried import all_without_sealed
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.reading import (
    SourceCheck,
    no_response,
    open_kept,
    open_resource,
    redact,
    redact_asked,
)
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.service import KeyRing


class KeptResponses:
    """Reads and deletes them.

    Args:
        database: Where they are.
        keys: Open them.
        ledger: Where it is put on record who read or deleted one.
    """

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._sources = SourceCheck(keys)
        self._repository = ResponseRepository()

    async def get(
        self, scope: Scope, response_id: UUID, *, include_sealed: bool = False
    ) -> WireObject:
        """A kept response, its content removed when one of its sources may not or no more be read by the principal.

        With ``include_sealed`` its thoughts are shown as their model wants them back, sealed.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
        """
        row, is_readable = await self._read(scope, response_id)
        key = await self._keys.open(row)
        resource = open_resource(key, row["tenant_id"], response_id, row["sealed_resource"])
        if not is_readable:
            return redact(resource)
        return resource if include_sealed else all_without_sealed(resource)

    async def list_input(self, scope: Scope, response_id: UUID) -> list[WireObject]:
        """What a kept response was asked with, first to last, as :meth:`get` shows what was answered.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
        """
        row, is_readable = await self._read(scope, response_id)
        key = await self._keys.open(row)
        _, asked = open_kept(key, row["tenant_id"], response_id, row["sealed_resource"])
        return [item if is_readable else redact_asked(item) for item in asked]

    async def delete(self, scope: Scope, response_id: UUID) -> None:
        """Delete a kept response.

        Raises:
            NotFoundError: When the principal may see no such response.
            NotGrantedError: When it is shared with them: it is its owner's to delete.
        """
        async with self._refusing(scope, "response.delete", response_id) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None:
                raise no_response(response_id)
            if row["owner_id"] != scope.principal_id:
                raise NotGrantedError
            if not await self._repository.delete_response(transaction, response_id):
                raise no_response(response_id)
            # A source was erased, and the salt with it: committed to under one that is nowhere kept.
            salt = row["salt"] or self._keys.generate().salt
            await self._append(transaction, scope, "response.delete", response_id, salt)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a response, for its owner alone; None when it is gone."""
        response_id = parse_id(RESPONSE_PREFIX, reference)
        if response_id is None:
            return None
        row = await self._repository.find_response(transaction, response_id)
        if row is None or row["owner_id"] != scope.principal_id:
            return None
        return row["salt"]

    async def _read(self, scope: Scope, response_id: UUID) -> tuple[Record, bool]:
        """A kept response, and whether all that it was made from may be read; put on record."""
        async with self._refusing(scope, "response.read", response_id) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None:
                raise no_response(response_id)
            if row["key_id"] is None:
                raise SourceErasedError
            is_readable = await self._sources.may_read(transaction, row)
            subject = Subject(render_id(RESPONSE_PREFIX, response_id), row["salt"])
            way = choose_way(read_ways(row["ways"]))
            act = Act("response.read", subject, row["owner_id"])
            await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
        return row, is_readable

    def _refusing(
        self, scope: Scope, action: Action, response_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        find = find_target(RESPONSE_PREFIX, response_id, self._repository.find_response_owner)
        return recording_refusal(self._database, self._ledger, scope, action, find)

    async def _append(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        response_id: UUID,
        salt: bytes,
    ) -> None:
        subject = Subject(render_id(RESPONSE_PREFIX, response_id), salt)
        await self._ledger.append(transaction, scope, Act(action, subject, scope.principal_id))
