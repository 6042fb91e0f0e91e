"""Where an answer comes from, and what became of a document: which answers, searches and downloads used it."""

from typing import Any, Final

from fastapi import APIRouter

from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.http.callers import AuditReader, ResponseReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.objects import AuditEntryObject, Page
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.provenance_views import ProvenanceObject
from undercroft.http.routes.audit import render_entry
from undercroft.http.wire import page_of, require_id
from undercroft.kit.ids import render_id
from undercroft.ledger.models import ENTRY_PREFIX, AuditFilter, Outcome
from undercroft.vault.models import DOCUMENT_PREFIX

_USES: Final = frozenset({"document.answer", "document.rank", "document.read", "document.search"})

router = APIRouter(tags=["provenance"], route_class=NativeRoute)


@router.get(
    "/v1/responses/{response_id}/provenance",
    summary="Prove where an answer comes from",
    response_model=ProvenanceObject,
    responses=errors(404, 409, 410),
)
async def get_provenance(
    response_id: str, caller: ResponseReader, services: ServicesDependency
) -> dict[str, Any]:
    """The passages that the answer was made from, and the ledger's entries with proofs, for `undercroft verify`.

    Passages that the caller may not read now are there without what opens them.
    """
    return await services.chat.provenance.get(
        caller, require_id(RESPONSE_PREFIX, "response", response_id)
    )


@router.get(
    "/v1/documents/{document_id}/uses",
    summary="List a document's uses",
    response_model=Page[AuditEntryObject],
    responses=errors(404),
)
async def list_uses(
    document_id: str,
    caller: AuditReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """Each answer, search and download of it, the newest first: by whom, under which grant, what for.

    What a search had ranked by another company's model is there as `document.rank`. For its owner alone.
    """
    document = await services.vault.documents.get_own(caller, require_document_id(document_id))
    entries = await services.proof.audit.list_entries(
        caller,
        caller.user_id,
        # Refused attempts are in the audit, and used nothing.
        AuditFilter(
            render_id(DOCUMENT_PREFIX, document.id), actions=_USES, outcome=Outcome.ALLOWED
        ),
        after=None if after is None else require_id(ENTRY_PREFIX, "entry", after, "after"),
        limit=limit + 1,
    )
    return page_of([render_entry(entry) for entry in entries], limit)
