"""The Vector Stores API: collections, and searching them."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from undercroft.http.callers import CollectionReader, CollectionWriter, Searcher
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.openai.filters import Filters
from undercroft.http.openai.paging import After, Before, Limit, Order
from undercroft.http.openai.tools import RankingOptions, SearchQuality
from undercroft.http.provenance_views import render_highlights, render_understanding
from undercroft.http.wire import (
    JsonObject,
    Metadata,
    OnlyFalse,
    RequestBody,
    page_of,
    render_attributes,
    render_time,
    require_id,
)
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import render_id
from undercroft.retrieval.collections.models import (
    COLLECTION_PREFIX,
    Collection,
    Page,
    StatusCounts,
)
from undercroft.retrieval.search.models import FoundPassage, Quality, SearchQuery
from undercroft.vault.models import DOCUMENT_PREFIX

router = APIRouter(tags=["vector stores"], route_class=AuthenticatedRoute)

_Name = Annotated[str, Field(max_length=256)]


class ChunkingStrategy(RequestBody):
    """Chunks are cut to the embedding model's own limits; there is no other way."""

    type: Literal["auto"]


class CreateVectorStore(RequestBody):
    """A new vector store."""

    name: _Name | None = None
    description: None = None
    file_ids: Annotated[list[str], Field(max_length=500)] | None = None
    metadata: Metadata | None = None
    expires_after: None = None
    chunking_strategy: ChunkingStrategy | None = None


class UpdateVectorStore(RequestBody):
    """What to change; null and absent leave as is."""

    name: _Name | None = None
    metadata: Metadata | None = None
    expires_after: None = None


class SearchVectorStore(RequestBody):
    """A search."""

    query: (
        Annotated[str, Field(min_length=1, max_length=4096)]
        | Annotated[
            list[Annotated[str, Field(min_length=1, max_length=4096)]],
            Field(min_length=1, max_length=8),
        ]
    )
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 10
    ranking_options: RankingOptions | None = None
    rewrite_query: OnlyFalse = False
    filters: Filters | None = None
    highlights: Annotated[
        bool, Field(description="Not of OpenAI's API: whether passages say where the words stand.")
    ] = False
    quality: SearchQuality = "balanced"

    def text(self) -> str:
        """The question; several are asked as one."""
        return self.query if isinstance(self.query, str) else "\n".join(self.query)


@router.post("/v1/vector_stores", summary="Create a vector store", responses=errors(404, 409, 410))
async def create_vector_store(
    body: CreateVectorStore, caller: CollectionWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Create a vector store, with these files in it."""
    file_ids = [
        require_id(DOCUMENT_PREFIX, "file", text, f"file_ids.{place}")
        for place, text in enumerate(body.file_ids or [])
    ]
    collection = await services.retrieval.collections.create(
        caller, body.name or "", body.metadata or {}, file_ids
    )
    return render_collection(collection)


@router.get("/v1/vector_stores", summary="List vector stores", responses=errors(404, 410))
async def list_vector_stores(
    caller: CollectionReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    before: Before = None,
    order: Order = "desc",
) -> dict[str, Any]:
    """The caller's vector stores."""
    del before
    page = Page(
        limit + 1, None if after is None else require_collection_id(after, "after"), order == "asc"
    )
    collections = await services.retrieval.collections.list_collections(caller, page)
    return page_of([render_collection(collection) for collection in collections], limit)


@router.get(
    "/v1/vector_stores/{vector_store_id}", summary="Get a vector store", responses=errors(404, 410)
)
async def get_vector_store(
    vector_store_id: str, caller: CollectionReader, services: ServicesDependency
) -> dict[str, Any]:
    """One vector store."""
    return render_collection(
        await services.retrieval.collections.get(caller, require_collection_id(vector_store_id))
    )


@router.post(
    "/v1/vector_stores/{vector_store_id}",
    summary="Change a vector store",
    responses=errors(404, 409, 410),
)
async def update_vector_store(
    vector_store_id: str,
    body: UpdateVectorStore,
    caller: CollectionWriter,
    services: ServicesDependency,
) -> dict[str, Any]:
    """Change its name or metadata."""
    collection = await services.retrieval.collections.update(
        caller, require_collection_id(vector_store_id), body.name, body.metadata
    )
    return render_collection(collection)


@router.delete(
    "/v1/vector_stores/{vector_store_id}",
    summary="Delete a vector store",
    responses=errors(404, 409, 410),
)
async def delete_vector_store(
    vector_store_id: str, caller: CollectionWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Delete a vector store. Its files stay."""
    await services.retrieval.collections.delete(caller, require_collection_id(vector_store_id))
    return {"id": vector_store_id, "object": "vector_store.deleted", "deleted": True}


@router.post(
    "/v1/vector_stores/{vector_store_id}/search",
    summary="Search a vector store",
    responses=errors(404, 410),
)
async def search_vector_store(
    vector_store_id: str, body: SearchVectorStore, caller: Searcher, services: ServicesDependency
) -> dict[str, Any]:
    """The best passages for a question. Scores are made of ranks alone."""
    if not body.text().strip():
        raise InvalidRequestError("The query is empty: say what to look for.", param="query")
    query = SearchQuery(
        (require_collection_id(vector_store_id),),
        body.text(),
        body.max_num_results,
        is_typed=True,
        is_highlighted=body.highlights,
        filter=body.filters.as_filter() if body.filters else None,
        quality=Quality(body.quality),
    )
    result = await services.retrieval.search.search(caller, query)
    threshold = body.ranking_options.score_threshold if body.ranking_options else 0.0
    found = [passage for passage in result.passages if passage.score >= threshold]
    return {
        "object": "vector_store.search_results.page",
        "search_query": [body.query] if isinstance(body.query, str) else body.query,
        "data": [_render_passage(passage) for passage in found],
        "has_more": False,
        "next_page": None,
        "undercroft": {
            "degraded": sorted(result.degraded),
            "understanding": render_understanding(result.diagnostics),
        },
    }


def render_collection(collection: Collection) -> JsonObject:
    """The vector store object."""
    counts = collection.counts
    return {
        "id": render_id(COLLECTION_PREFIX, collection.id),
        "object": "vector_store",
        "created_at": render_time(collection.created_at),
        "last_active_at": render_time(collection.last_active_at),
        "name": collection.name,
        "metadata": dict(collection.metadata),
        "usage_bytes": collection.byte_size,
        "status": "in_progress" if counts.in_progress else "completed",
        "file_counts": render_counts(counts),
        "expires_after": None,
        "expires_at": None,
    }


def render_counts(counts: StatusCounts) -> JsonObject:
    """How many files have each status."""
    return {
        "in_progress": counts.in_progress,
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "total": counts.total,
    }


def require_collection_id(text: str, param: str | None = None) -> UUID:
    """The collection behind a vector store's id."""
    return require_id(COLLECTION_PREFIX, "vector store", text, param)


def _render_passage(passage: FoundPassage) -> JsonObject:
    return {
        "file_id": render_id(DOCUMENT_PREFIX, passage.document_id),
        "filename": passage.filename,
        "score": passage.score,
        "attributes": render_attributes(passage.attributes),
        "content": [{"type": "text", "text": passage.text}],
        "undercroft": {
            "start": passage.start,
            "end": passage.end,
            "page": passage.page_start,
            "page_end": passage.page_end,
            "headings": list(passage.headings),
            "highlights": render_highlights(passage),
        },
    }
