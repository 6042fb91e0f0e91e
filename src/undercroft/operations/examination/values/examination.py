"""Opens each sealed value that no other examination does, in the place where it is."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind
from undercroft.kit.database import Transaction
from undercroft.operations.examination.opening import Opening
from undercroft.operations.examination.values.repository import ValueRepository

_FIRST: Final = (UUID(int=0), -1)
_PAGE: Final = 500

ReadValues: TypeAlias = Callable[[Transaction, tuple[UUID, int], int], Awaitable[list[Record]]]


class ValueExamination:
    """Examines what one tenant's people have sealed beside documents and records.

    Args:
        opening: Opens its keys, and takes what is wrong.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        repository = ValueRepository()
        self._sources: tuple[tuple[ReadValues, str, str], ...] = (
            (repository.list_sealed_mail, "outgoing_mail", "sealed_message"),
            (repository.list_sealed_links, "share_links", "email"),
            (repository.list_sealed_requests, "access_requests", "sealed_content"),
            (repository.list_sealed_notices, "notice_versions", "sealed_content"),
            (repository.list_sealed_statements, "response_passages", "statement"),
            (repository.list_sealed_patches, "record_migrations", "sealed_patch"),
        )

    async def run(self, transaction: Transaction) -> None:
        """Open every value."""
        for read, table, column in self._sources:
            last = _FIRST
            while page := await read(transaction, last, _PAGE):
                for row in page:
                    await self._open(row, table, column)
                last = (page[-1]["id"], page[-1]["number"])

    async def _open(self, row: Record, table: str, column: str) -> None:
        key = await self._opening.open(row)
        if key is None:
            return
        row_id, number = row["id"], row["number"]
        place = bind(self._opening.tenant_id, table, row_id, column, number)
        which = f" {number}" if number else ""
        subject = f"{column}{which} of {table} {row_id.hex}"
        self._opening.unseal(key, row["sealed"], place, subject)
