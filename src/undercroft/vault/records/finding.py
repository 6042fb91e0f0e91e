"""Finding records by words in plain fields: the caller's own, and those that they may search by these fields."""

from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import GrantAction
from undercroft.vault.records.models import Record, RecordPage
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.storage import RecordStorage, subject_of
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.schemas.service import subject_of as schema_subject


class RecordFinding:
    """Searches records by words.

    Args:
        database: Where they are.
        storage: Opens what is found.
        schemas: What they are records of.
        ledger: Where what is found is put on record.
    """

    def __init__(
        self, database: Database, storage: RecordStorage, schemas: SchemaService, ledger: Ledger
    ) -> None:
        self._database = database
        self._storage = storage
        self._schemas = schemas
        self._ledger = ledger
        self._repository = RecordRepository()

    async def find(self, scope: Scope, text: str, schema_id: UUID | None, limit: int) -> RecordPage:
        """The records whose plain fields have all of the words, the best first; of one schema, if given.

        Of another's record only the fields are looked at that the principal may search; it is there as far as they may
        read it.

        Raises:
            NotFoundError: When the tenant has no such schema.
        """
        async with self._database.transaction(scope) as transaction:
            acts: list[Act] = []
            if schema_id is not None:
                schema = await self._schemas.read(transaction, schema_id)
                subject = schema_subject(schema)
                acts.append(Act("record.search", subject, schema.owner_id, schema.version))
            found = await self._repository.find_by_words(transaction, text, schema_id, limit + 1)
            page = await self._storage.read_page(transaction, list(found), limit, found)
            await self._ledger.append(transaction, scope, *acts)
            await append_page(self._ledger, transaction, scope, page)
        return page


async def append_page(
    ledger: Ledger, transaction: Transaction, scope: Scope, page: RecordPage
) -> None:
    """What was read; of what is another's, that it was found as well. Of a damaged one nobody learns anything."""
    opened = [record for record in page.records if isinstance(record, Record)]
    acts = [act for record in opened for act in _page_acts(scope, record)]
    await ledger.append(transaction, scope, *acts)


def _page_acts(scope: Scope, record: Record) -> list[Act]:
    acts = record.access.acts(scope, GrantAction.READ, _act_on("record.read", record))
    if record.access.ways is None:
        return acts
    return record.access.acts(scope, GrantAction.SEARCH, _act_on("record.search", record)) + acts


def _act_on(action: Action, record: Record) -> Act:
    return Act(action, subject_of(record), record.owner_id, record.version)
