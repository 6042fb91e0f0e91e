"""The documents' service over a folder, wired as the application wires it."""

from pathlib import Path

from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.intake import Intake
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService


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
