"""The Files API: documents."""

from typing import Annotated, Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, File, Form, Query, UploadFile
from starlette.responses import StreamingResponse

from undercroft.http.callers import DocumentReader, DocumentWriter
from undercroft.http.deps import ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import After, Limit, Order
from undercroft.http.revocable import RevocableResponse
from undercroft.http.upload_form import UploadRoute, incoming_of
from undercroft.http.wire import JsonObject, StorableText, page_of, render_time, require_id
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import render_id
from undercroft.vault.models import DOCUMENT_PREFIX, Document, IndexState

router = APIRouter(tags=["files"], route_class=UploadRoute)

Purpose = Literal["assistants", "user_data", "batch", "fine-tune", "vision", "evals"]
_STATUS: Final = {
    # Nothing is on its way, so the SDK's wait_for_processing must not wait.
    IndexState.UNINDEXED: "processed",
    IndexState.PENDING: "uploaded",
    IndexState.INDEXED: "processed",
    IndexState.FAILED: "error",
}


@router.post("/v1/files", summary="Upload a file", responses=errors(409, 410, 415))
async def create_file(
    file: Annotated[UploadFile, File(description="The document.")],
    purpose: Annotated[Purpose, Form()],
    caller: DocumentWriter,
    services: ServicesDependency,
    expires_after: Annotated[
        str | None, Form(alias="expires_after[anchor]", description="Refused.")
    ] = None,
    expires_seconds: Annotated[
        str | None, Form(alias="expires_after[seconds]", description="Refused.")
    ] = None,
) -> dict[str, Any]:
    """Keep a document. It is indexed when it is first added to a vector store."""
    if expires_after is not None or expires_seconds is not None:
        raise InvalidRequestError(
            "Files do not expire yet; leave 'expires_after' out and delete the file yourself.",
            param="expires_after",
        )
    filename = clean_filename(file.filename)
    document = await services.vault.documents.create(caller, incoming_of(file), filename, purpose)
    return render_file(document)


@router.get("/v1/files", summary="List files", responses=errors(404, 410))
async def list_files(
    caller: DocumentReader,
    services: ServicesDependency,
    limit: Limit = 100,
    after: After = None,
    order: Order = "desc",
    purpose: Annotated[StorableText | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    """The caller's documents."""
    documents = await services.vault.documents.list_documents(
        caller,
        after=None if after is None else _require_id(after, "after"),
        ascending=order == "asc",
        purpose=purpose,
        limit=limit + 1,
    )
    return page_of([render_file(document) for document in documents], limit)


@router.get("/v1/files/{file_id}", summary="Get a file", responses=errors(404, 410))
async def get_file(
    file_id: str, caller: DocumentReader, services: ServicesDependency
) -> dict[str, Any]:
    """One document."""
    return render_file(await services.vault.documents.get(caller, _require_id(file_id)))


@router.delete("/v1/files/{file_id}", summary="Delete a file", responses=errors(404, 409, 410))
async def delete_file(
    file_id: str, caller: DocumentWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Delete a document, take it out of every vector store and forget what was derived from it."""
    await services.vault.documents.delete(caller, _require_id(file_id))
    return {"id": file_id, "object": "file", "deleted": True}


@router.get(
    "/v1/files/{file_id}/content",
    summary="Download a file",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The bytes."},
        **errors(404, 409, 410),
    },
)
async def get_file_content(
    file_id: str, caller: DocumentReader, services: ServicesDependency
) -> StreamingResponse:
    """The document's bytes, as they were uploaded. Under a grant they stop when that ends."""
    document, blocks = await services.vault.documents.read(caller, _require_id(file_id))
    headers = {
        "Content-Length": str(document.byte_size),
        # A stranger's HTML must not run in the origin of this service.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.filename, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    releases = document.releases
    return RevocableResponse(
        services.sharing.watched_grants, caller, releases, blocks, headers=headers
    )


def render_file(document: Document) -> JsonObject:
    """OpenAI's file object. How its indexing went is for whoever may read it."""
    is_whole = document.access.is_whole
    return {
        "id": render_id(DOCUMENT_PREFIX, document.id),
        "object": "file",
        "bytes": document.byte_size,
        "created_at": render_time(document.created_at),
        "expires_at": None,
        "filename": document.filename,
        "purpose": document.purpose,
        "status": _STATUS[document.index_state] if is_whole else "processed",
        "status_details": document.index_error if is_whole else None,
    }


def _require_id(text: str, param: str | None = None) -> UUID:
    return require_id(DOCUMENT_PREFIX, "file", text, param)


def clean_filename(name: str | None) -> str:
    """The last part of the name, without what a terminal, a log or PostgreSQL would choke on."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    printable = "".join(
        character
        for character in last.encode("utf-8", "replace").decode()
        if character.isprintable()
    )
    return printable.strip()[:255] or "unnamed"
