"""Documents and versions as the native routes show them."""

from uuid import UUID

from undercroft.http.wire import JsonObject, render_time, require_id
from undercroft.kit.ids import render_id
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.vault.models import DOCUMENT_PREFIX, Document, DocumentVersion


def render_document(document: Document) -> JsonObject:
    """A document at its current version; whoever may not read it sees what it takes to know it by.

    A hold is between its owner and the tenant's admins.
    """
    shown = {
        "id": render_id(DOCUMENT_PREFIX, document.id),
        "object": "document",
        "name": document.filename,
        "version": document.version,
        "bytes": document.byte_size,
        "media_type": document.media_type,
    }
    if not document.access.is_whole:
        return shown
    is_own = document.access.action is None
    return {
        **shown,
        "metadata": dict(document.metadata),
        "sealed": document.is_sealed,
        "index_status": document.index_state,
        "index_error": document.index_error,
        "legal_hold": document.hold_reason if is_own else None,
        "created_at": render_time(document.created_at),
        "updated_at": render_time(document.updated_at),
        "deleted_at": render_time(document.deleted_at),
        "erased_after": render_time(document.purge_at),
    }


def render_version(version: DocumentVersion) -> JsonObject:
    """One version."""
    return {
        "id": str(version.number),
        "object": "document.version",
        "document": render_id(DOCUMENT_PREFIX, version.document_id),
        "version": version.number,
        "bytes": version.byte_size,
        "media_type": version.media_type,
        "sha256": version.sha256.hex(),
        "entry": None if version.entry_id is None else render_id(ENTRY_PREFIX, version.entry_id),
        "created_at": render_time(version.created_at),
    }


def require_document_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(DOCUMENT_PREFIX, "file", text, param)
