"""What the service hands out, and the service that is shown it again."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chat.conftest import shelf
from tests.conftest import MakeScope, Member
from tests.documents import make_documents, make_trash, make_versions
from tests.records import Cabinet, open_cabinet
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.directory import LogDirectory
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.sequencer import Sequencer
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    ResourceKind,
    Terms,
)
from undercroft.sharing.service import GrantService
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import Document
from undercroft.vault.receipts import Receipts
from undercroft.vault.records.models import Record
from undercroft.vault.records.receipts import RecordReceipts
from undercroft.vault.service import DocumentService
from undercroft.vault.trash import Trash
from undercroft.verification.service import VerificationService

__all__ = ["shelf"]


READ = Terms(frozenset({GrantAction.READ}))


def reading(fields: Iterable[str]) -> Terms:
    """Fields of a record alone."""
    return Terms(READ.actions, fields=frozenset(fields))


@dataclass(frozen=True, slots=True)
class Desk:
    """One installation: who hands receipts out, and who is asked about them."""

    database: Database
    documents: DocumentService
    trash: Trash
    receipts: Receipts
    log_keys: LogKeys
    sequencer: Sequencer
    reader: LedgerReader
    verification: VerificationService
    records: Cabinet
    record_receipts: RecordReceipts
    grants: GrantService
    ann: Member

    async def put(self, content: bytes = b"The mill grinds barley.") -> Document:
        """A document of Ann's, whose entry is in the log."""
        document = await self.documents.import_file(
            self.ann, io.BytesIO(content), "mill.txt", "user_data"
        )
        await self.sequencer.sequence(self.ann.tenant_id)
        return document

    async def receipt(self, document: Document, number: int = 1) -> bytes:
        """What Ann is given for a version."""
        return (await self.receipts.get(self.ann, document.id, number)).encode()

    async def share(self, thing: Document | Record, to: Member, terms: Terms = READ) -> Grant:
        """A grant of Ann's, to read it unless told otherwise."""
        kind = ResourceKind.DOCUMENT if isinstance(thing, Document) else ResourceKind.RECORD
        grantee = Grantee(GranteeKind.USER, to.principal_id)
        return await self.grants.create(self.ann, Resource(kind, thing.id), grantee, terms)

    async def execute(self, statement: str, *arguments: object) -> None:
        """One statement in Ann's tenant."""
        async with self.database.transaction(self.ann) as transaction:
            await transaction.execute(statement, *arguments)


async def open_desk(database: Database, folder: Path, ann: Member) -> Desk:
    """An installation over a database, with a key file of its own."""
    folder.mkdir(exist_ok=True)
    provider = await KeyFile.open(folder / "provider.key")
    ring = KeyRing(provider, IdSource())
    documents = make_documents(database, folder, ring)
    log_keys = LogKeys(database, provider, "test")
    records = await open_cabinet(database, folder)
    sequencer = Sequencer(database, log_keys)
    people = IdentityService(database, records.ledger, IdSource(), SystemClock())
    return Desk(
        database,
        documents,
        make_trash(documents),
        Receipts(make_versions(documents), log_keys),
        log_keys,
        sequencer,
        LedgerReader(database, log_keys, sequencer, SystemClock()),
        VerificationService(database, LogDirectory(database), ring),
        records,
        RecordReceipts(database, records.records, log_keys),
        GrantService(database, records.ledger, IdSource(), people),
        ann,
    )


@pytest.fixture
async def desk(database: Database, tmp_path: Path, make_scope: MakeScope) -> Desk:
    """An installation with nothing in it."""
    return await open_desk(database, tmp_path, await make_scope())
