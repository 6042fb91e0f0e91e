"""What is kept: documents, records, and what comes with them."""

from datetime import timedelta

from undercroft.http.services import VaultServices
from undercroft.http.wiring.foundation import Foundation
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.comments.service import CommentService
from undercroft.vault.holds import LegalHolds
from undercroft.vault.intake import Intake
from undercroft.vault.receipts import Receipts
from undercroft.vault.records.finding import RecordFinding
from undercroft.vault.records.locks import RecordLocks
from undercroft.vault.records.migrations import RecordMigrations
from undercroft.vault.records.receipts import RecordReceipts
from undercroft.vault.records.service import RecordService
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.service import DocumentService
from undercroft.vault.trash import Trash
from undercroft.vault.uploads.parts import PartStore
from undercroft.vault.uploads.service import UploadService
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService
from undercroft.vault.versions import VersionService


async def open_vault(base: Foundation) -> VaultServices:
    """All of it. What uploads of an earlier process left behind is gone."""
    database, ledger, keys, ids = base.database, base.ledger, base.keys, base.ids
    settings, max_bytes = base.settings, base.settings.max_upload_bytes
    blobs, staging = open_blob_store(settings), Staging(settings.staging_dir, ids)
    await staging.sweep(base.clock.now())
    quotas = Quotas(settings.tenant_quota_bytes, settings.user_quota_bytes)
    usage = UsageService(database, quotas)
    intake = Intake(blobs, staging, keys, usage, ids, detect_media_type, max_bytes)
    documents = DocumentService(database, blobs, intake, keys, ledger, ids)
    versions = VersionService(database, blobs, intake, keys, ledger, base.index.follow)
    parts = PartStore(blobs, staging, keys, ids)
    schemas = SchemaService(database, keys, ledger, ids)
    storage = RecordStorage(keys, ids)
    records = RecordService(database, storage, schemas, ledger)
    retention = timedelta(days=settings.document_retention_days)
    return VaultServices(
        intake=intake,
        uploads=UploadService(
            database, parts, intake, documents, keys, usage, ledger, base.queue, ids, max_bytes
        ),
        usage=usage,
        documents=documents,
        versions=versions,
        trash=Trash(database, blobs, keys, ledger, retention),
        holds=LegalHolds(database, ledger),
        comments=CommentService(database, keys, ledger, ids),
        receipts=Receipts(versions, base.log_keys),
        schemas=schemas,
        records=records,
        record_locks=RecordLocks(records, ledger),
        record_migrations=RecordMigrations(database, storage, schemas, ledger, base.queue, ids),
        record_finding=RecordFinding(database, storage, schemas, ledger),
        record_receipts=RecordReceipts(database, records, base.log_keys),
    )
