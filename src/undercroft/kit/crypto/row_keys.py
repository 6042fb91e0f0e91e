"""The keys of rows, as the modules below the vault see them: it keeps them, and stands above those that need some."""

from typing import Protocol
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope


class RowKey(Protocol):
    """The open key of one row."""

    @property
    def id(self) -> UUID:
        """Which row of ``data_keys`` it is."""
        ...

    @property
    def material(self) -> bytes:
        """What values are sealed with."""
        ...

    @property
    def salt(self) -> bytes:
        """What the ledger's commitments to the row are made with."""
        ...


class RowKeys(Protocol):
    """Makes and opens the keys of rows: see :class:`undercroft.vault.keys.service.KeyRing`."""

    async def create(self, transaction: Transaction, scope: Scope) -> RowKey:
        """A fresh key for a row that the same transaction writes."""
        ...

    async def open(self, row: Record, prefix: str = "") -> RowKey:
        """The key of a row that was read together with the rows of its keys."""
        ...
