"""The documents' service over a folder, wired as the application wires it."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.intake import Intake
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService
from undercroft.vault.trash import Trash
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService
from undercroft.vault.versions import FollowDocument, VersionService


def make_documents(
    database: Database,
    folder: Path,
    keys: KeyRing,
    *,
    limit: int = 10_000,
    blobs: BlobStore | None = None,
    quotas: Quotas | None = None,
) -> DocumentService:
    """Documents whose bytes are below ``folder``, in ``blobs`` and ``staging``."""
    ids = IdSource()
    blobs, staging = blobs or LocalBlobStore(folder / "blobs"), Staging(folder / "staging", ids)
    usage = UsageService(database, quotas or Quotas())
    intake = Intake(blobs, staging, keys, usage, ids, detect_media_type, limit)
    ledger = Ledger(database, ids, SystemClock())
    return DocumentService(database, blobs, intake, keys, ledger, ids)


async def follow_nowhere(transaction: Transaction, scope: Scope, document_id: UUID) -> None:
    """For documents in no collection."""


def make_versions(
    documents: DocumentService, follow: FollowDocument = follow_nowhere
) -> VersionService:
    """The versions of the same documents."""
    return VersionService(
        documents._database,
        documents._blobs,
        documents._intake,
        documents._keys,
        documents._ledger,
        follow,
    )


def make_trash(documents: DocumentService, retention: timedelta = timedelta(days=30)) -> Trash:
    """The trash of the same documents."""
    return Trash(
        documents._database, documents._blobs, documents._keys, documents._ledger, retention
    )
