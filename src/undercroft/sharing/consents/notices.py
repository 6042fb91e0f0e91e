"""Notices: what people are told before they agree. Everybody in the tenant may read one; who made it adds versions."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.crypto.row_keys import RowKey, RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.leaves import canonical_object
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.consents.errors import NotNoticeOwnerError
from undercroft.sharing.consents.models import (
    NOTICE_PREFIX,
    Notice,
    NoticeContent,
    NoticeTerms,
    Party,
    describe_content,
)
from undercroft.sharing.consents.repository import ConsentRepository


class NoticeService:
    """Makes, versions and reads notices.

    Args:
        database: Where they are.
        keys: Seal their text.
        ledger: Where each version is put on record.
        ids: Makes their ids.
    """

    def __init__(self, database: Database, keys: RowKeys, ledger: Ledger, ids: IdSource) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._ids = ids
        self._repository = ConsentRepository()

    async def create(
        self, scope: Scope, purpose: str, content: NoticeContent, terms: NoticeTerms
    ) -> Notice:
        """Make version 1 of a notice.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        notice_id = self._ids.new()
        async with self._database.transaction(scope) as transaction:
            key = await self._keys.create(transaction, scope)
            await self._repository.insert_notice(transaction, notice_id, key.id, purpose)
            await self._insert_version(transaction, scope, notice_id, 1, key, content, terms)
            return await self._record(transaction, scope, "notice.create", notice_id)

    async def add_version(
        self, scope: Scope, notice_id: UUID, content: NoticeContent, terms: NoticeTerms
    ) -> Notice:
        """Add a version. Consents stay with the version that was agreed to.

        Raises:
            NotFoundError: When the tenant has no such notice.
            NotNoticeOwnerError: When it is another's.
        """
        async with self._database.transaction(scope) as transaction:
            await self._repository.lock_notice(transaction, notice_id)
            row = await self._find(transaction, notice_id, None)
            if row["owner_id"] != scope.principal_id:
                raise NotNoticeOwnerError
            number, key = row["number"] + 1, await self._keys.open(row)
            await self._insert_version(transaction, scope, notice_id, number, key, content, terms)
            await self._repository.advance_notice(transaction, notice_id, number)
            return await self._record(transaction, scope, "notice.update", notice_id)

    async def get(self, scope: Scope, notice_id: UUID, number: int | None = None) -> Notice:
        """A version of a notice, the latest unless a number is given.

        Raises:
            NotFoundError: When there is none.
        """
        async with self._database.transaction(scope) as transaction:
            return await self.read(transaction, notice_id, number)

    async def list_notices(self, scope: Scope, after: UUID | None, limit: int) -> list[Notice]:
        """The latest versions of the tenant's notices, the oldest notice first."""
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_notices(transaction, after, limit)
            return [await self._open(row) for row in rows]

    async def read(
        self, transaction: Transaction, notice_id: UUID, number: int | None = None
    ) -> Notice:
        """As :meth:`get`, in the transaction of what is done with it."""
        return await self._open(await self._find(transaction, notice_id, number))

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a notice of the tenant's; None when there is none."""
        del scope  # the transaction's own
        notice_id = parse_id(NOTICE_PREFIX, reference)
        if notice_id is None:
            return None
        return await self._repository.find_notice_salt(transaction, notice_id)

    async def _find(self, transaction: Transaction, notice_id: UUID, number: int | None) -> Record:
        row = await self._repository.find_notice(transaction, notice_id, number)
        if row is None:
            what = "notice" if number is None else f"version {number} of a notice"
            raise NotFoundError(what, render_id(NOTICE_PREFIX, notice_id))
        return row

    async def _insert_version(
        self,
        transaction: Transaction,
        scope: Scope,
        notice_id: UUID,
        number: int,
        key: RowKey,
        content: NoticeContent,
        terms: NoticeTerms,
    ) -> None:
        plain = canonical_object(describe_content(content))
        sealed = seal(key.material, plain, notice_place(scope.tenant_id, notice_id, number))
        await self._repository.insert_notice_version(transaction, notice_id, number, sealed, terms)

    async def _record(
        self, transaction: Transaction, scope: Scope, action: Action, notice_id: UUID
    ) -> Notice:
        notice = await self.read(transaction, notice_id)
        subject = Subject(render_id(NOTICE_PREFIX, notice.id), notice.salt)
        act = Act(action, subject, notice.owner_id, notice.version, content=notice.digest)
        await self._ledger.append(transaction, scope, act)
        return notice

    async def _open(self, row: Record) -> Notice:
        key = await self._keys.open(row)
        place = notice_place(row["key_tenant_id"], row["id"], row["number"])
        content = _read_content(json.loads(unseal(key.material, row["sealed_content"], place)))
        terms = NoticeTerms(row["validity_days"], row["retention_days"], row["erases"])
        return Notice(
            id=row["id"],
            owner_id=row["owner_id"],
            purpose=row["purpose"],
            version=row["number"],
            latest=row["current_version"],
            content=content,
            terms=terms,
            digest=digest_notice(row["purpose"], content, terms),
            created_at=row["created_at"],
            salt=key.salt,
        )


def digest_notice(purpose: str, content: NoticeContent, terms: NoticeTerms) -> bytes:
    """SHA-256 of all that a version says, as RFC 8785 spells it (docs/consent.md)."""
    return hashlib.sha256(canonical_object(notice_document(purpose, content, terms))).digest()


def notice_document(purpose: str, content: NoticeContent, terms: NoticeTerms) -> Mapping[str, Any]:
    """All that a version says, as it is published."""
    return {
        **describe_content(content),
        "purpose": purpose,
        "validity_days": terms.validity_days,
        "retention_days": terms.retention_days,
        "erases": terms.erases,
    }


def _read_content(value: Mapping[str, Any]) -> NoticeContent:
    controller = value["controller"]
    return NoticeContent(
        title=value["title"],
        text=value["text"],
        language=value["language"],
        purpose_description=value["purpose_description"],
        data_categories=tuple(value["data_categories"]),
        controller=Party(controller["name"], controller["contact"]),
        recipients=tuple(value["recipients"]),
        retention=value["retention"],
        jurisdictions=tuple(value["jurisdictions"]),
        withdrawal=value["withdrawal"],
    )


def notice_place(tenant_id: UUID, notice_id: UUID, number: int) -> bytes:
    """What the sealed text of a version of a notice is bound to."""
    return bind(tenant_id, "notice_versions", notice_id, "sealed_content", number)
