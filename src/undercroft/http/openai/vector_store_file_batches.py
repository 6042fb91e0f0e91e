"""The Vector Store File Batches API: documents that are put into a collection together."""

from collections.abc import Iterator
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse

from undercroft.http.callers import CollectionReader, CollectionWriter
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.openai.paging import After, Before, Limit, Order
from undercroft.http.openai.vector_store_files import (
    POLL_HEADERS,
    AddFile,
    Status,
    files_page,
    render_member,
)
from undercroft.http.openai.vector_stores import (
    ChunkingStrategy,
    render_counts,
    require_collection_id,
)
from undercroft.http.wire import (
    Attributes,
    JsonObject,
    RequestBody,
    page_of,
    render_time,
    require_id,
)
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import render_id
from undercroft.retrieval.collections.batches.models import BATCH_PREFIX, FileBatch
from undercroft.retrieval.collections.intake import Addition
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.vault.models import DOCUMENT_PREFIX

router = APIRouter(tags=["vector store file batches"], route_class=AuthenticatedRoute)

_ROOT: Final = "/v1/vector_stores/{vector_store_id}/file_batches"
_MOST_FILES: Final = 500


class CreateFileBatch(RequestBody):
    """Files to add: by their ids, or each with attributes of its own."""

    file_ids: Annotated[list[str], Field(min_length=1, max_length=_MOST_FILES)] | None = None
    files: Annotated[list[AddFile], Field(min_length=1, max_length=_MOST_FILES)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None

    def additions(self) -> list[Addition]:
        """The files, each once.

        Raises:
            InvalidRequestError: When they are named in both ways or in neither, or one of them twice.
            NotFoundError: When a name is no file's.
        """
        if (self.file_ids is None) == (self.files is None):
            raise InvalidRequestError(
                "Name the files in 'file_ids' or in 'files', and not in both.", param="file_ids"
            )
        additions = list(self._named())
        seen: set[UUID] = set()
        for addition in additions:
            if addition.document_id in seen:
                raise InvalidRequestError(
                    f"'{addition.param}' is a file that is named before; name each once.",
                    param=addition.param,
                )
            seen.add(addition.document_id)
        return additions

    def _named(self) -> Iterator[Addition]:
        for place, text in enumerate(self.file_ids or ()):
            yield _addition(text, self.attributes, f"file_ids.{place}")
        if self.files is None:
            return
        for field in ("attributes", "chunking_strategy"):
            if getattr(self, field) is not None:
                raise InvalidRequestError(
                    f"'{field}' goes with 'file_ids'; with 'files', give it to each of them.",
                    param=field,
                )
        for place, file in enumerate(self.files):
            yield _addition(file.file_id, file.attributes, f"files.{place}.file_id")


@router.post(_ROOT, summary="Add files to a vector store", responses=errors(404, 409, 410))
async def create_file_batch(
    vector_store_id: str,
    body: CreateFileBatch,
    caller: CollectionWriter,
    services: ServicesDependency,
) -> dict[str, Any]:
    """Add documents, all or none, and have them indexed."""
    batch = await services.retrieval.file_batches.create(
        caller, require_collection_id(vector_store_id), body.additions()
    )
    return _render(batch)


@router.get(
    _ROOT + "/{batch_id}", summary="Get a file batch of a vector store", responses=errors(404, 410)
)
async def get_file_batch(
    vector_store_id: str, batch_id: str, caller: CollectionReader, services: ServicesDependency
) -> JSONResponse:
    """How far the files of a batch are. For the vector store's owner."""
    batch = await services.retrieval.file_batches.get(
        caller, require_collection_id(vector_store_id), _require_batch_id(batch_id)
    )
    return JSONResponse(_render(batch), headers=POLL_HEADERS)


@router.post(
    _ROOT + "/{batch_id}/cancel",
    summary="Cancel a file batch of a vector store",
    responses=errors(404, 409, 410),
)
async def cancel_file_batch(
    vector_store_id: str, batch_id: str, caller: CollectionWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Take the documents that are not indexed yet out of the vector store. They stay, and so do the others in it."""
    batch = await services.retrieval.file_batches.cancel(
        caller, require_collection_id(vector_store_id), _require_batch_id(batch_id)
    )
    return _render(batch)


@router.get(
    _ROOT + "/{batch_id}/files",
    summary="List the files of a file batch",
    responses=errors(404, 410),
)
async def list_file_batch_files(
    vector_store_id: str,
    batch_id: str,
    caller: CollectionReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    before: Before = None,
    order: Order = "desc",
    status: Status = None,
) -> dict[str, Any]:
    """The documents of a batch. Cancelled are those that are not in the vector store any more."""
    del before
    members = await services.retrieval.file_batches.list_files(
        caller,
        require_collection_id(vector_store_id),
        _require_batch_id(batch_id),
        files_page(limit, after, order),
        status,
    )
    return page_of([render_member(member) for member in members], limit)


def _addition(text: str, attributes: Attributes | None, param: str) -> Addition:
    return Addition(require_id(DOCUMENT_PREFIX, "file", text, param), attributes or {}, param)


def _require_batch_id(text: str) -> UUID:
    return require_id(BATCH_PREFIX, "vector store file batch", text)


def _render(batch: FileBatch) -> JsonObject:
    return {
        "id": render_id(BATCH_PREFIX, batch.id),
        "object": "vector_store.file_batch",
        "created_at": render_time(batch.created_at),
        "vector_store_id": render_id(COLLECTION_PREFIX, batch.collection_id),
        "status": batch.status,
        "file_counts": render_counts(batch.counts),
    }
