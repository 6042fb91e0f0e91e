"""Documents: what people write about them."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import DocumentReader, DocumentWriter
from undercroft.http.comment_views import CommentObject, render_comment, require_comment_id
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import RequestBody, page_of
from undercroft.vault.comments.models import LONGEST_TEXT
from undercroft.vault.models import LARGEST_VERSION

router = APIRouter(tags=["documents"], route_class=NativeRoute)


class WriteComment(RequestBody):
    """What is written."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
    version: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST_VERSION,
            description="Which version it is about: the current one unless the owner says another.",
        ),
    ] = None


@router.post(
    "/v1/documents/{document_id}/comments",
    summary="Comment on a document",
    status_code=201,
    response_model=CommentObject,
    responses={**answers(201, "The comment.", "Location"), **errors(404, 409, 410)},
)
async def write_comment(
    document_id: str,
    body: WriteComment,
    made: Response,
    caller: DocumentWriter,
    services: ServicesDependency,
) -> dict[str, Any]:
    """For its owner and for whoever was granted `comment`. A document has 1,000 comments at most."""
    comment = render_comment(
        await services.vault.comments.create(
            caller, require_document_id(document_id), body.text, body.version
        )
    )
    made.headers["Location"] = f"/v1/documents/{document_id}/comments/{comment['id']}"
    return comment


@router.get(
    "/v1/documents/{document_id}/comments",
    summary="List a document's comments",
    response_model=Page[CommentObject],
    responses=errors(404, 410),
)
async def list_comments(
    document_id: str,
    caller: DocumentReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """All of them, the oldest first, for its owner and for whoever was granted `read` or `comment`."""
    last = None if after is None else require_comment_id(after, "after")
    comments = await services.vault.comments.list_comments(
        caller, require_document_id(document_id), after=last, limit=limit + 1
    )
    return page_of(list(map(render_comment, comments)), limit)


@router.delete(
    "/v1/documents/{document_id}/comments/{comment_id}",
    summary="Delete a comment",
    status_code=204,
    response_class=Response,
    responses=errors(404, 409),
)
async def delete_comment(
    document_id: str, comment_id: str, caller: DocumentWriter, services: ServicesDependency
) -> Response:
    """One's own, while one may see the document; on a document of one's own any."""
    await services.vault.comments.delete(
        caller, require_document_id(document_id), require_comment_id(comment_id)
    )
    return Response(status_code=204)
