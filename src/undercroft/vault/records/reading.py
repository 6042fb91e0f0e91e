"""Reading single records: all that one principal asks for at the same time in one transaction.

Each is authorised, read under its keys and put on record there, and none is released before that has committed.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from undercroft.kit.batches import Batches
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger, current_trace
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction, ModelUse
from undercroft.vault.records.errors import no_record
from undercroft.vault.records.models import Record, Wanted
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.storage import RecordStorage, subject_of

_LARGEST_BATCH: Final = 16
"""Records in one transaction: 4 MiB of JSON where all are of the largest kind."""


class RecordReading:
    """Reads records for whoever may, and puts each on record.

    Args:
        database: Where they are.
        storage: Opens them.
        ledger: Where it is put on record.
    """

    def __init__(self, database: Database, storage: RecordStorage, ledger: Ledger) -> None:
        self._database = database
        self._storage = storage
        self._ledger = ledger
        self._repository = RecordRepository()
        self._batches: Batches[Scope, Wanted, Record] = Batches(self._read_batch, _LARGEST_BATCH)

    async def read(
        self,
        scope: Scope,
        record_id: UUID,
        version: int | None,
        model_use: frozenset[ModelUse] = frozenset(),
    ) -> Record:
        """What the principal may read, and show to a model that does this, of a version of a record.

        The latest unless a number is given.

        Raises:
            NotFoundError: When the principal may see no such record, or it has no such version.
            NotGrantedError: When they know of it and may not read it.
            ModelUseError: When they may read it, and not show it to such a model.
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
            DecryptionError: When what is stored was altered, moved or left out.
        """
        return await self._batches.ask(
            scope, Wanted(record_id, version, current_trace(), model_use)
        )

    async def _read_batch(
        self, scope: Scope, wanted: Sequence[Wanted]
    ) -> list[Record | UndercroftError]:
        async with self._database.transaction(scope) as transaction:
            found = await self._storage.read_each(transaction, wanted)
            acts = [
                act
                for asked, record in zip(wanted, found, strict=True)
                if isinstance(record, Record)
                for act in _acts(scope, asked, record)
            ]
            await self._ledger.append(transaction, scope, *acts)
            missing = [
                asked.record_id
                for asked, record in zip(wanted, found, strict=True)
                if record is None
            ]
            refused = await self._list_refused(transaction, missing)
        return [
            (
                NotGrantedError(GrantAction.READ)
                if asked.record_id in refused
                else no_record(asked.record_id)
            )
            if record is None
            else record
            for asked, record in zip(wanted, found, strict=True)
        ]

    async def _list_refused(
        self, transaction: Transaction, record_ids: Sequence[UUID]
    ) -> set[UUID]:
        """Which of those that are not to be read the principal knows of all the same."""
        if not record_ids:
            return set()
        return await self._repository.list_refused(transaction, record_ids, GrantAction.READ)


def _acts(scope: Scope, asked: Wanted, record: Record) -> list[Act]:
    act = Act("record.read", subject_of(record), record.owner_id, record.version, trace=asked.trace)
    return record.access.acts(scope, GrantAction.READ, act)
