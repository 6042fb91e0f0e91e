"""The Vector Store Files API: which documents are in a collection."""

from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from undercroft.http.callers import CollectionReader, CollectionWriter, DocumentReader
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import After, Before, Limit, Order
from undercroft.http.openai.vector_stores import ChunkingStrategy, require_collection_id
from undercroft.http.wire import (
    Attributes,
    JsonObject,
    RequestBody,
    page_of,
    render_attributes,
    render_time,
    require_id,
)
from undercroft.kit.ids import render_id
from undercroft.retrieval.collections.models import COLLECTION_PREFIX, Member, MemberStatus, Page
from undercroft.vault.models import DOCUMENT_PREFIX

router = APIRouter(tags=["vector store files"], route_class=AuthenticatedRoute)

POLL_HEADERS: Final = {"openai-poll-after-ms": "200"}
"""How soon the SDK's ``poll`` asks again: indexing a page takes about as long."""
_ROOT: Final = "/v1/vector_stores/{vector_store_id}/files"
Status: TypeAlias = Annotated[MemberStatus | None, Query(alias="filter")]
_SERVER_ERRORS: Final = frozenset(
    {"internal", "attempts_exhausted", "deadline_exceeded", "model_not_registered"}
)


class AddFile(RequestBody):
    """A file to add."""

    file_id: str
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class UpdateFile(RequestBody):
    """The file's new attributes."""

    attributes: Attributes


@router.post(_ROOT, summary="Add a file to a vector store", responses=errors(404, 409, 410))
async def add_vector_store_file(
    vector_store_id: str, body: AddFile, caller: CollectionWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Add a document and have it indexed. Chunks are cut to the embedding model's own limits."""
    member = await services.retrieval.collections.add(
        caller,
        require_collection_id(vector_store_id),
        require_id(DOCUMENT_PREFIX, "file", body.file_id, "file_id"),
        body.attributes or {},
    )
    return render_member(member)


@router.get(_ROOT, summary="List the files of a vector store", responses=errors(404, 410))
async def list_vector_store_files(
    vector_store_id: str,
    caller: CollectionReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    before: Before = None,
    order: Order = "desc",
    status: Status = None,
) -> dict[str, Any]:
    """The documents in a vector store. None is ever cancelled: what a batch's end has stopped is not in it."""
    del before
    collection_id = require_collection_id(vector_store_id)
    page = files_page(limit, after, order)
    members = await services.retrieval.collections.list_members(caller, collection_id, page, status)
    return page_of([render_member(member) for member in members], limit)


@router.get(
    _ROOT + "/{file_id}", summary="Get a file of a vector store", responses=errors(404, 410)
)
async def get_vector_store_file(
    vector_store_id: str, file_id: str, caller: CollectionReader, services: ServicesDependency
) -> JSONResponse:
    """One document's state in a vector store."""
    member = await services.retrieval.collections.get_member(
        caller, require_collection_id(vector_store_id), _require_id(file_id)
    )
    return JSONResponse(render_member(member), headers=POLL_HEADERS)


@router.post(
    _ROOT + "/{file_id}", summary="Change a file of a vector store", responses=errors(404, 409, 410)
)
async def update_vector_store_file(
    vector_store_id: str,
    file_id: str,
    body: UpdateFile,
    caller: CollectionWriter,
    services: ServicesDependency,
) -> dict[str, Any]:
    """Replace a document's attributes in a vector store."""
    member = await services.retrieval.collections.update_member(
        caller, require_collection_id(vector_store_id), _require_id(file_id), body.attributes
    )
    return render_member(member)


@router.delete(
    _ROOT + "/{file_id}",
    summary="Remove a file from a vector store",
    responses=errors(404, 409, 410),
)
async def remove_vector_store_file(
    vector_store_id: str, file_id: str, caller: CollectionWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Take a document out of a vector store. The document stays."""
    await services.retrieval.collections.remove(
        caller, require_collection_id(vector_store_id), _require_id(file_id)
    )
    return {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}


@router.get(
    _ROOT + "/{file_id}/content",
    summary="Get the text of a file of a vector store",
    responses=errors(404, 410),
)
async def get_vector_store_file_content(
    vector_store_id: str, file_id: str, caller: DocumentReader, services: ServicesDependency
) -> dict[str, Any]:
    """The text that was extracted from a document, chunk by chunk."""
    texts = await services.retrieval.collections.read_member(
        caller, require_collection_id(vector_store_id), _require_id(file_id)
    )
    return {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": text} for text in texts],
        "has_more": False,
        "next_page": None,
    }


def render_member(member: Member) -> JsonObject:
    """The vector store file object."""
    error = None
    if member.status is MemberStatus.FAILED:
        is_ours = member.error_code in _SERVER_ERRORS
        error = {
            "code": "server_error" if is_ours else "invalid_file",
            "message": member.error_message,
            "undercroft": {"reason": member.error_code},
        }
    return {
        "id": render_id(DOCUMENT_PREFIX, member.document_id),
        "object": "vector_store.file",
        "created_at": render_time(member.added_at),
        "vector_store_id": render_id(COLLECTION_PREFIX, member.collection_id),
        "status": member.status,
        "last_error": error,
        "usage_bytes": member.byte_size,
        "attributes": render_attributes(member.attributes),
        "chunking_strategy": {"type": "other"},
    }


def files_page(limit: int, after: str | None, order: str) -> Page:
    """The page of files that a query asks for, with one more that tells whether there is another."""
    return Page(limit + 1, None if after is None else _require_id(after, "after"), order == "asc")


def _require_id(text: str, param: str | None = None) -> UUID:
    return require_id(DOCUMENT_PREFIX, "file", text, param)
