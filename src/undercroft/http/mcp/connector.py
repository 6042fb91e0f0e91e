"""``search`` and ``fetch`` as connectors expect them: results with an id, a title and a url, and a text by its id."""

import re
from typing import Annotated, Any, Final

from pydantic import Field

from undercroft.http.document_views import require_document_id
from undercroft.http.mcp.tools import MODEL_USE, Call, Tool
from undercroft.http.objects import Shown
from undercroft.http.provenance_views import SearchResult, render_passage
from undercroft.http.text_views import position_of, read_position, render_piece
from undercroft.http.wire import JsonObject, RequestBody
from undercroft.identity.models import Permission
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import render_id
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.models import SearchResult as Found
from undercroft.retrieval.texts.models import TextPage
from undercroft.vault.models import DOCUMENT_PREFIX

_PASSAGES: Final = 10
_PIECES: Final = 100
"""About as many as 25,000 tokens, more than which assistants cut off."""
_ID: Final = re.compile(r"(?P<document>[^:]+)(:(?P<after>.*))?", re.DOTALL)

Query = Annotated[str, Field(min_length=1, max_length=4096, description="What is looked for.")]


class SearchArguments(RequestBody):
    """What is searched for."""

    query: Query


class FoundDocument(Shown):
    """A document in which something was found."""

    id: Annotated[str, Field(description="What `fetch` takes.")]
    title: str
    url: str
    passages: list[SearchResult]


class FoundDocuments(Shown):
    """Documents, best first."""

    results: list[FoundDocument]
    degraded: Annotated[
        list[str], Field(description="What could not be asked: `vector`, `reranker`.")
    ]


class FetchArguments(RequestBody):
    """What is fetched."""

    id: Annotated[
        str,
        Field(max_length=64, description="A result's `id`, or the `next` of what was fetched."),
    ]


class FetchedPiece(Shown):
    """Where a piece of the text stands in its document."""

    start: int
    end: int
    page: int | None
    page_end: int | None
    headings: list[str]
    grants: list[str]


class FetchedMetadata(Shown):
    """What else there is to know of a text."""

    document: str
    version: int
    media_type: str
    pieces: Annotated[
        list[FetchedPiece],
        Field(description="Of the text, in its order; an empty line is between."),
    ]
    next: Annotated[
        str | None, Field(description="Fetch this for what follows; null where nothing does.")
    ]


class Fetched(Shown):
    """A document's text."""

    id: str
    title: str
    text: str
    url: str
    metadata: FetchedMetadata


async def _search(call: Call, arguments: SearchArguments) -> JsonObject:
    query = SearchQuery(
        (), require_words(arguments.query), _PASSAGES, model_use=MODEL_USE, is_everywhere=True
    )
    return render_found(call, await call.services.retrieval.search.search(call.caller, query))


def require_words(query: str) -> str:
    """A query that asks for something.

    Raises:
        InvalidRequestError: When it is white space.
    """
    if not query.strip():
        raise InvalidRequestError("The query is empty: say what to look for.", param="query")
    return query


def render_found(call: Call, found: Found) -> JsonObject:
    """The documents of the passages, in the order of the best passage of each."""
    results: dict[str, JsonObject] = {}
    for passage in found.passages:
        shown = render_passage(passage)
        identifier = shown["document"]
        result = results.setdefault(
            identifier,
            {
                "id": identifier,
                "title": passage.filename,
                "url": _address_of(call, identifier),
                "passages": [],
            },
        )
        result["passages"].append(shown)
    return {"results": list(results.values()), "degraded": sorted(found.degraded)}


def _address_of(call: Call, document: str) -> str:
    """Where a document is to be had; whoever opens it shows a credential of their own."""
    return f"{call.base_url}v1/documents/{document}"


async def _fetch(call: Call, arguments: FetchArguments) -> JsonObject:
    match = _ID.fullmatch(arguments.id)
    if match is None:
        raise InvalidRequestError("It is the 'id' of a result of 'search'.", param="id")
    document_id = require_document_id(match["document"])
    after = read_position(match["after"])
    # First, as the text may be the last use of what lets the caller see it; and nothing is told before that is read.
    document = await call.services.vault.documents.get(call.caller, document_id)
    page = await call.services.retrieval.texts.read(
        call.caller, document_id, after, _PIECES, MODEL_USE
    )
    identifier = render_id(DOCUMENT_PREFIX, document_id)
    return {
        "id": arguments.id,
        "title": document.filename,
        "text": "\n\n".join(piece.text for piece in page.pieces),
        "url": _address_of(call, identifier),
        "metadata": {
            "document": identifier,
            "version": page.version,
            "media_type": document.media_type,
            "pieces": [_place(render_piece(page, piece)) for piece in page.pieces],
            "next": _next(identifier, page),
        },
    }


def _place(piece: JsonObject) -> dict[str, Any]:
    return {field: piece[field] for field in FetchedPiece.model_fields}


def _next(identifier: str, page: TextPage) -> str | None:
    if not page.has_more:
        return None
    return f"{identifier}:{position_of(page, page.pieces[-1])}"


SEARCH: Final = Tool(
    name="search",
    title="Search",
    description=(
        "Search all documents that the user may search, by words and by meaning. Answers the documents that fit best, "
        "each with the passages that do and where they stand (page, headings, offsets). Cite these. Use `fetch` to "
        "read on."
    ),
    permission=Permission.SEARCH,
    arguments=SearchArguments,
    result=FoundDocuments,
    run=_search,
)
FETCH: Final = Tool(
    name="fetch",
    title="Fetch a document",
    description=(
        "The text of a document that `search` found, by its `id`: from its beginning, or as much of it as was shared "
        "with the user. Where `metadata.next` is not null, fetch that for what follows."
    ),
    permission=Permission.DOCUMENTS_READ,
    arguments=FetchArguments,
    result=Fetched,
    run=_fetch,
)
