"""Search over all that the caller may search, or over some of it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, Field

from undercroft.http.callers import Searcher
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.openai.contract import errors
from undercroft.http.openai.filters import Filters, Key, require_known_key
from undercroft.http.openai.tools import SearchQuality
from undercroft.http.openai.vector_stores import require_collection_id
from undercroft.http.provenance_views import (
    SearchResults,
    render_facet,
    render_marked,
    render_understanding,
)
from undercroft.http.wire import RequestBody
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.retrieval.search.describing import Sort
from undercroft.retrieval.search.models import Quality, SearchQuery

_KnownKey = Annotated[Key, AfterValidator(require_known_key)]

_FIELDS: Final = {"vector store": "collections", "file": "documents"}
"""Which field has the ids of what kind of object."""

router = APIRouter(tags=["search"], route_class=NativeRoute)


class SortBy(RequestBody):
    """Another order than by relevance."""

    key: _KnownKey
    order: Literal["asc", "desc"] = "asc"


class Search(RequestBody):
    """What is searched, and where."""

    query: Annotated[str, Field(min_length=1, max_length=4096)]
    collections: Annotated[list[str], Field(max_length=20)] | None = None
    documents: Annotated[list[str], Field(max_length=100)] | None = None
    filters: Filters | None = None
    facets: Annotated[list[_KnownKey], Field(max_length=5)] | None = None
    sort: SortBy | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    highlights: bool = True
    quality: SearchQuality = "balanced"


@router.post(
    "/v1/search", summary="Search", response_model=SearchResults, responses=errors(403, 404, 410)
)
async def search(body: Search, caller: Searcher, services: ServicesDependency) -> dict[str, Any]:
    """The best passages of these collections and documents; with neither, of all that the caller may search.

    In it `"quotation marks"`, `-exclusions` and `prefixes*` are meant as such, all else is words: `understanding`
    says how it was read, and what was fallen back on. Scores are made of ranks alone, among what the caller may see.
    `facets` count the documents of all passages that are proposed, up to 300 by each leg; `sort` puts those in another
    order before the best are taken.
    """
    if not body.query.strip():
        raise InvalidRequestError("The query is empty: say what to look for.", param="query")
    with _naming_fields():
        result = await services.retrieval.search.search(caller, _query(body))
    return {
        "object": "search.results",
        "data": [render_marked(passage) for passage in result.passages],
        "understanding": render_understanding(result.diagnostics),
        "degraded": sorted(result.degraded),
        "facets": [render_facet(facet) for facet in result.facets],
    }


def _query(body: Search) -> SearchQuery:
    collections = [require_collection_id(text) for text in body.collections or ()]
    documents = [require_document_id(text) for text in body.documents or ()]
    return SearchQuery(
        tuple(dict.fromkeys(collections)),
        body.query,
        body.limit,
        document_ids=tuple(dict.fromkeys(documents)),
        is_everywhere=body.collections is None and body.documents is None,
        is_typed=True,
        is_highlighted=body.highlights,
        filter=body.filters.as_filter() if body.filters else None,
        facets=list(dict.fromkeys(body.facets or ())),
        sort=Sort(body.sort.key, body.sort.order == "desc") if body.sort else None,
        quality=Quality(body.quality),
    )


@contextmanager
def _naming_fields() -> Generator[None]:
    """What is not there is told with the field that has ids of its kind: a search has no fields of its own."""
    try:
        yield
    except NotFoundError as error:
        error.param = error.param or _FIELDS.get(error.what)
        raise
