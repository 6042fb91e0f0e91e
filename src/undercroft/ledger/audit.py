"""The audit: what was done with what one owns and what one did oneself; all of it, for those who may see all."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol, cast
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.leaves import derive_salt, grant_reference, user_reference
from undercroft.ledger.models import (
    ENTRY_PREFIX,
    OPERATOR_ID,
    TENANT_PREFIX,
    USER_PREFIX,
    Act,
    AuditEntry,
    AuditFilter,
    OpenedEntry,
    Opening,
)
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.service import Ledger

_PAGE: Final = 500


class SaltSource(Protocol):
    """Keeps the salts of one kind of things, with their keys."""

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """The salt of the object with this id on the wire; None when it keeps none, or none any more."""
        ...


class UserSalts:
    """The salts of users."""

    def __init__(self) -> None:
        self._repository = LedgerRepository()

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """The salt of the user with this id on the wire."""
        user_id = parse_id(USER_PREFIX, reference)
        if user_id is None:
            return None
        salts = await self._repository.list_user_salts(transaction, scope.tenant_id, [user_id])
        return salts.get(user_id)


class TenantSalts:
    """The salts of tenants."""

    def __init__(self) -> None:
        self._repository = LedgerRepository()

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """The salt of the scope's own tenant."""
        if parse_id(TENANT_PREFIX, reference) != scope.tenant_id:
            return None
        return await self._repository.get_log_salt(transaction, scope.tenant_id)


class AuditService:
    """Reads entries for people.

    Everywhere, ``viewer_id`` is who asks when they may see only what they own or did; None for who may see all.

    Args:
        database: Where the entries are.
        reader: Waits for entries that are just being numbered.
        ledger: Where it is put on record that the audit was read.
        salts: Where the salts of resources are kept; those of users and tenants are known here.
    """

    def __init__(
        self,
        database: Database,
        reader: LedgerReader,
        ledger: Ledger,
        salts: Sequence[SaltSource] = (),
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._reader = reader
        self._salts = (UserSalts(), TenantSalts(), *salts)
        self._repository = LedgerRepository()

    async def list_entries(
        self,
        scope: Scope,
        viewer_id: UUID | None,
        wanted: AuditFilter,
        *,
        after: UUID | None = None,
        limit: int,
    ) -> list[AuditEntry]:
        """A page of entries, the newest first, starting after the given one.

        Raises:
            NotFoundError: When there is no entry ``after`` that the viewer may see.
        """
        async with self._database.transaction(scope) as transaction:
            last: AuditEntry | None = None
            if after is not None:
                found = await self._repository.find_entry(
                    transaction, scope.tenant_id, after, viewer_id
                )
                if found is None:
                    raise NotFoundError("entry", render_id(ENTRY_PREFIX, after), param="after")
                last = found[0]
            await self._record(transaction, scope, "audit.read")
            return await self._repository.list_entries(
                transaction, scope.tenant_id, viewer_id, wanted, last, limit
            )

    async def export(
        self, scope: Scope, viewer_id: UUID | None, wanted: AuditFilter
    ) -> AsyncIterator[Sequence[AuditEntry]]:
        """All entries, the newest first, a page at a time; no connection is held between pages.

        It is put on record before anything is read: it may be broken off with much of it sent.
        """
        async with self._database.transaction(scope) as transaction:
            await self._record(transaction, scope, "audit.export")
        return self._pages(scope, viewer_id, wanted)

    async def _pages(
        self, scope: Scope, viewer_id: UUID | None, wanted: AuditFilter
    ) -> AsyncIterator[Sequence[AuditEntry]]:
        last: AuditEntry | None = None
        while True:
            async with self._database.transaction(scope) as transaction:
                page = await self._repository.list_entries(
                    transaction, scope.tenant_id, viewer_id, wanted, last, _PAGE
                )
            if page:
                yield page
            if len(page) < _PAGE:
                return
            last = page[-1]

    async def open_entry(self, scope: Scope, viewer_id: UUID | None, entry_id: UUID) -> OpenedEntry:
        """An entry, its bytes, and what opens its commitments: salts that were destroyed open nothing any more.

        Raises:
            NotFoundError: When there is none that the viewer may see.
            NotYetSequencedError: When it gets no number within two seconds.
        """
        entry, leaf = await self._reader.wait_for_entry(scope, entry_id, viewer_id)
        fields = cast("dict[str, object]", json.loads(leaf))
        async with self._database.transaction(scope) as transaction:
            openings = await self._open(transaction, scope, entry, fields)
            await self._record(transaction, scope, "audit.read")
        return OpenedEntry(entry, leaf, tuple(openings))

    async def _record(self, transaction: Transaction, scope: Scope, action: Action) -> None:
        tenant = await self._ledger.tenant(transaction, scope.tenant_id)
        await self._ledger.append(transaction, scope, Act(action, tenant, None))

    async def _open(
        self, transaction: Transaction, scope: Scope, entry: AuditEntry, fields: dict[str, object]
    ) -> list[Opening]:
        openings: list[Opening] = []
        people = {"actor": entry.actor_id, "on_behalf_of": entry.on_behalf_of}
        for field, user_id in people.items():
            if user_id is None or user_id == OPERATOR_ID:
                continue
            reference = user_reference(user_id)
            salt = await self._find_salt(transaction, scope, reference)
            if salt is not None:
                openings.append(Opening(field, reference, derive_salt(salt, entry.id, field)))
        salt = await self._find_salt(transaction, scope, entry.resource)
        if salt is not None:
            grant = None if entry.grant_id is None else grant_reference(entry.grant_id)
            values = {
                "resource": entry.resource,
                "grant": grant,
                "purpose": entry.purpose,
                "content": None,
            }
            openings += [
                Opening(field, value, derive_salt(salt, entry.id, field))
                for field, value in values.items()
                if field in fields
            ]
        return openings

    async def _find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        for source in self._salts:
            salt = await source.find_salt(transaction, scope, reference)
            if salt is not None:
                return salt
        return None
