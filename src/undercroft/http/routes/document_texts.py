"""Documents: their text, all of it or the parts that were shared."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from undercroft.http.callers import DocumentReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.objects import Page
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import Limit
from undercroft.http.text_views import TextPieceObject, read_position, render_page

router = APIRouter(tags=["documents"], route_class=NativeRoute)

_After = Annotated[
    str | None, Query(max_length=64, description="The id of the last piece of the page before.")
]


@router.get(
    "/v1/documents/{document_id}/text",
    summary="Read a document's text",
    response_model=Page[TextPieceObject],
    responses=errors(404, 409, 410),
)
async def get_text(
    document_id: str,
    caller: DocumentReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: _After = None,
) -> dict[str, Any]:
    """The text that was extracted from the current version, in its order, in pieces of one section each.

    Whoever was granted `read_parts` reads the pages and sections of the grant. An answer with text is one use of it.
    """
    page = await services.retrieval.texts.read(
        caller, require_document_id(document_id), read_position(after), limit
    )
    return render_page(page)
