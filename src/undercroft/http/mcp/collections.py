"""Vector stores as tools. To assistants they are collections, which says what they are."""

from typing import Annotated, Any, Final

from pydantic import Field

from undercroft.http.document_views import require_document_id
from undercroft.http.mcp.connector import FoundDocuments, Query, render_found, require_words
from undercroft.http.mcp.tools import MODEL_USE, After, Call, Limit, PageArguments, Tool
from undercroft.http.objects import Page, Shown, Time
from undercroft.http.openai.filters import Filters
from undercroft.http.openai.vector_stores import render_collection, require_collection_id
from undercroft.http.wire import (
    JsonObject,
    RequestBody,
    page_of,
    render_attributes,
    render_time,
)
from undercroft.identity.models import Permission
from undercroft.kit.ids import render_id
from undercroft.retrieval.collections.models import COLLECTION_PREFIX, Collection, Member
from undercroft.retrieval.collections.models import Page as Part
from undercroft.retrieval.search.models import SearchQuery
from undercroft.sharing.errors import ModelUseError
from undercroft.vault.models import DOCUMENT_PREFIX

CollectionId = Annotated[str, Field(max_length=64, description="A collection's id: `vs_...`.")]


class ListCollectionDocumentsArguments(RequestBody):
    """Which part of which collection."""

    collection: CollectionId
    limit: Limit = 20
    after: After = None


class SearchCollectionArguments(RequestBody):
    """What is searched for, and where."""

    collection: CollectionId
    query: Query
    filters: Filters | None = None
    limit: Annotated[int, Field(ge=1, le=50, description="The most passages.")] = 10


class CollectionObject(Shown):
    """A collection, and how many documents are in it."""

    id: str
    name: str
    metadata: dict[str, str]
    documents: int
    created_at: Time


class CollectionDocument(Shown):
    """A document in a collection."""

    id: str
    status: str
    attributes: dict[str, Any]
    added_at: Time


async def _list(call: Call, arguments: PageArguments) -> JsonObject:
    after = None if arguments.after is None else require_collection_id(arguments.after)
    collections = await call.services.retrieval.collections.list_collections(
        call.caller, Part(arguments.limit + 1, after)
    )
    page = page_of([_render(collection) for collection in collections], arguments.limit)
    for_models = await call.services.retrieval.collections.list_for_models(
        call.caller, [collection.id for collection in collections], MODEL_USE
    )
    shown = {render_id(COLLECTION_PREFIX, collection_id) for collection_id in for_models}
    return {**page, "data": [one for one in page["data"] if one["id"] in shown]}


async def _list_documents(call: Call, arguments: ListCollectionDocumentsArguments) -> JsonObject:
    after = None if arguments.after is None else require_document_id(arguments.after)
    collection_id = require_collection_id(arguments.collection)
    collections = call.services.retrieval.collections
    members = await collections.list_members(
        call.caller, collection_id, Part(arguments.limit + 1, after), None
    )
    # After the list, which answers 404 and 403 as its route does; nothing is told before this is known.
    if not await collections.list_for_models(call.caller, [collection_id], MODEL_USE):
        raise ModelUseError
    return page_of([_render_member(member) for member in members], arguments.limit)


async def _search(call: Call, arguments: SearchCollectionArguments) -> JsonObject:
    query = SearchQuery(
        (require_collection_id(arguments.collection),),
        require_words(arguments.query),
        arguments.limit,
        model_use=MODEL_USE,
        filter=arguments.filters.as_filter() if arguments.filters else None,
    )
    return render_found(call, await call.services.retrieval.search.search(call.caller, query))


def _render(collection: Collection) -> JsonObject:
    shown = render_collection(collection)
    return {
        "id": shown["id"],
        "name": collection.name,
        "metadata": shown["metadata"],
        "documents": collection.counts.total,
        "created_at": shown["created_at"],
    }


def _render_member(member: Member) -> JsonObject:
    return {
        "id": render_id(DOCUMENT_PREFIX, member.document_id),
        "status": member.status,
        "attributes": render_attributes(member.attributes),
        "added_at": render_time(member.added_at),
    }


LIST_COLLECTIONS: Final = Tool(
    name="list_collections",
    title="List collections",
    description="The sets of documents that the user may read, newest first.",
    permission=Permission.COLLECTIONS_READ,
    arguments=PageArguments,
    result=Page[CollectionObject],
    run=_list,
)
LIST_COLLECTION_DOCUMENTS: Final = Tool(
    name="list_collection_documents",
    title="List a collection's documents",
    description="Which documents are in a collection, newest first, by their ids. `get_document` tells more of one.",
    permission=Permission.COLLECTIONS_READ,
    arguments=ListCollectionDocumentsArguments,
    result=Page[CollectionDocument],
    run=_list_documents,
)
SEARCH_COLLECTION: Final = Tool(
    name="search_collection",
    title="Search a collection",
    description="As `search`, in one collection alone.",
    permission=Permission.SEARCH,
    arguments=SearchCollectionArguments,
    result=FoundDocuments,
    run=_search,
)
