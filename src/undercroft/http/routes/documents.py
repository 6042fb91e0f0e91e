"""Documents: reading, changing, deleting and restoring them, and their versions."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import DocumentReader, DocumentWriter
from undercroft.http.conditional import (
    IfMatch,
    IfNoneMatch,
    expected_revisions,
    is_known,
    require_revisions,
    revision_tag,
)
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.document_views import render_document, render_version, require_document_id
from undercroft.http.objects import (
    DocumentObject,
    DocumentVersionObject,
    ErasedDocument,
    Page,
    SeenDocument,
)
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.files import clean_filename
from undercroft.http.openai.paging import After, Limit, Order
from undercroft.http.wire import Metadata, RequestBody, page_of
from undercroft.kit.ids import render_id
from undercroft.vault.models import (
    DOCUMENT_PREFIX,
    LARGEST_VERSION,
    Document,
    DocumentChanges,
)

router = APIRouter(tags=["documents"], route_class=NativeRoute)

CHANGED: Final = answers(200, "The document as it is now.", "ETag")

VersionNumber = Annotated[int, Path(ge=1, le=LARGEST_VERSION, description="From 1, without gaps.")]


class UpdateDocument(RequestBody):
    """What to change; null and absent leave as is."""

    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    metadata: Metadata | None = None
    sealed: bool | None = None


def answer(document: Document) -> Response:
    """A document, with what it takes to change it."""
    return JSONResponse(render_document(document), headers=_headers(document))


def answer_made(document: Document, *, version: int | None = None) -> Response:
    """The same after it, or a version of it, was made."""
    path = f"/v1/documents/{render_id(DOCUMENT_PREFIX, document.id)}"
    if version is not None:
        path = f"{path}/versions/{version}"
    return JSONResponse(render_document(document), 201, {**_headers(document), "Location": path})


def _headers(document: Document) -> dict[str, str]:
    return {"ETag": revision_tag(document.revision), "Cache-Control": "private, no-cache"}


@router.get(
    "/v1/documents",
    summary="List documents",
    response_model=Page[DocumentObject],
    responses=errors(404, 410),
)
async def list_documents(
    caller: DocumentReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    order: Order = "desc",
    deleted: Annotated[bool, Query(description="Those that can be restored instead.")] = False,
) -> dict[str, Any]:
    """The caller's documents."""
    documents = await services.vault.documents.list_documents(
        caller,
        after=None if after is None else require_document_id(after, "after"),
        ascending=order == "asc",
        is_trashed=deleted,
        limit=limit + 1,
    )
    return page_of([render_document(document) for document in documents], limit)


@router.get(
    "/v1/documents/{document_id}",
    summary="Get a document",
    response_model=SeenDocument,
    responses={
        **answers(200, "The document.", "ETag"),
        **answers(304, "It is as the client has it.", "ETag"),
        **errors(404, 410),
    },
)
async def get_document(
    document_id: str,
    caller: DocumentReader,
    services: ServicesDependency,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One document, with an ETag that changes with every change of it."""
    document = await services.vault.documents.get(caller, require_document_id(document_id))
    tag = revision_tag(document.revision)
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers=_headers(document))
    return answer(document)


@router.patch(
    "/v1/documents/{document_id}",
    summary="Change a document",
    response_model=SeenDocument,
    responses={**CHANGED, **errors(404, 409, 410, 412, 428)},
)
async def update_document(
    document_id: str,
    body: UpdateDocument,
    caller: DocumentWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
) -> Response:
    """Change name, metadata, or whether it is sealed: never indexed, in no vector store and shown to no model."""
    name = None if body.name is None else clean_filename(body.name)
    changes = DocumentChanges(name, body.metadata, body.sealed)
    expected = require_revisions(if_match)
    return answer(
        await services.vault.documents.update(
            caller, require_document_id(document_id), changes, expected
        )
    )


@router.delete(
    "/v1/documents/{document_id}",
    summary="Delete a document",
    response_model=DocumentObject,
    responses={**CHANGED, **errors(404, 409, 412)},
)
async def delete_document(
    document_id: str, caller: DocumentWriter, services: ServicesDependency, if_match: IfMatch = None
) -> Response:
    """Take it out of every list, search and answer at once. It can be restored until ``erased_after``."""
    expected = expected_revisions(if_match)
    return answer(
        await services.vault.trash.put(caller, require_document_id(document_id), expected)
    )


@router.post(
    "/v1/documents/{document_id}/restore",
    summary="Restore a deleted document",
    response_model=DocumentObject,
    responses={**CHANGED, **errors(404, 410, 412)},
)
async def restore_document(
    document_id: str, caller: DocumentWriter, services: ServicesDependency, if_match: IfMatch = None
) -> Response:
    """Undo its deletion: it is back with its versions, in its vector stores. One that is not deleted stays as it is."""
    expected = expected_revisions(if_match)
    return answer(
        await services.vault.trash.restore(caller, require_document_id(document_id), expected)
    )


@router.post(
    "/v1/documents/{document_id}/erase",
    summary="Erase a document",
    response_model=ErasedDocument,
    responses=errors(404, 409, 412),
)
async def erase_document(
    document_id: str, caller: DocumentWriter, services: ServicesDependency, if_match: IfMatch = None
) -> dict[str, Any]:
    """Destroy it for ever, deleted before or not: its versions, its index, and the answers that were made from it."""
    expected = expected_revisions(if_match)
    await services.vault.documents.delete(caller, require_document_id(document_id), expected)
    return {"id": document_id, "object": "document", "erased": True}


@router.get(
    "/v1/documents/{document_id}/versions",
    summary="List versions",
    response_model=Page[DocumentVersionObject],
    responses=errors(404, 410),
)
async def list_versions(
    document_id: str,
    caller: DocumentReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: Annotated[
        int | None,
        Query(
            ge=1, le=LARGEST_VERSION, description="The number of the last one of the page before."
        ),
    ] = None,
) -> dict[str, Any]:
    """A document's versions, the newest first."""
    versions = await services.vault.versions.list_versions(
        caller, require_document_id(document_id), before=after, limit=limit + 1
    )
    return page_of([render_version(version) for version in versions], limit)


@router.get(
    "/v1/documents/{document_id}/versions/{number}",
    summary="Get a version",
    response_model=DocumentVersionObject,
    responses=errors(404, 410),
)
async def get_version(
    document_id: str, number: VersionNumber, caller: DocumentReader, services: ServicesDependency
) -> dict[str, Any]:
    """One version, with the SHA-256 of its content."""
    return render_version(
        await services.vault.versions.get(caller, require_document_id(document_id), number)
    )


@router.post(
    "/v1/documents/{document_id}/versions/{number}/restore",
    summary="Restore a version",
    status_code=201,
    response_model=DocumentObject,
    responses={
        **answers(201, "The document at its new version.", "ETag", "Location"),
        **errors(404, 410, 412, 428),
    },
)
async def restore_version(
    document_id: str,
    number: VersionNumber,
    caller: DocumentWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
) -> Response:
    """Make a new version with the content of an earlier one."""
    expected = require_revisions(if_match)
    document = await services.vault.versions.restore(
        caller, require_document_id(document_id), number, expected
    )
    return answer_made(document, version=document.version)


@router.get(
    "/v1/documents/{document_id}/versions/{number}/receipt",
    summary="Get a version's receipt",
    response_class=Response,
    responses={
        200: {"description": "A signed note.", "content": {"text/plain": {}}},
        **errors(404, 409, 410),
    },
)
async def get_receipt(
    document_id: str, number: VersionNumber, caller: DocumentReader, services: ServicesDependency
) -> Response:
    """What the tenant's log signs about the version, to be kept and verified offline with its content."""
    receipt = await services.vault.receipts.get(caller, require_document_id(document_id), number)
    return Response(receipt, media_type="text/plain; charset=utf-8")
