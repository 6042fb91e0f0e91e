"""Documents as tools: which there are, what is known of one, and its text by page or section."""

from typing import Annotated, Final

from pydantic import Field

from undercroft.http.document_views import render_document, require_document_id
from undercroft.http.mcp.tools import MODEL_USE, After, Call, Limit, PageArguments, Tool
from undercroft.http.objects import DocumentObject, GlimpsedDocumentObject, Page, Shown
from undercroft.http.text_views import TextPieceObject, read_position, render_page
from undercroft.http.wire import JsonObject, RequestBody, page_of
from undercroft.identity.models import Permission
from undercroft.retrieval.texts.models import TextSelection

DocumentId = Annotated[str, Field(max_length=64, description="A document's id: `file-...`.")]


class GetDocumentArguments(RequestBody):
    """Which document."""

    document: DocumentId


class ReadDocumentArguments(RequestBody):
    """What of which document."""

    document: DocumentId
    page: (
        Annotated[int, Field(ge=1, le=1_000_000, description="Only what stands on it.")] | None
    ) = None
    section: (
        Annotated[
            str,
            Field(
                min_length=1, max_length=1000, description="Only what stands below this heading."
            ),
        ]
        | None
    ) = None
    limit: Limit = 20
    after: After = None


class DescribedDocument(Shown):
    """A document, as far as the user may see it."""

    document: DocumentObject | GlimpsedDocumentObject


async def _list(call: Call, arguments: PageArguments) -> JsonObject:
    documents = await call.services.vault.documents.list_documents(
        call.caller,
        after=None if arguments.after is None else require_document_id(arguments.after),
        limit=arguments.limit + 1,
    )
    return page_of([render_document(document) for document in documents], arguments.limit)


async def _get(call: Call, arguments: GetDocumentArguments) -> JsonObject:
    document_id = require_document_id(arguments.document)
    document = await call.services.vault.documents.get(call.caller, document_id, MODEL_USE)
    return {"document": render_document(document)}


async def _read(call: Call, arguments: ReadDocumentArguments) -> JsonObject:
    return render_page(
        await call.services.retrieval.texts.read(
            call.caller,
            require_document_id(arguments.document),
            read_position(arguments.after),
            arguments.limit,
            MODEL_USE,
            TextSelection(arguments.page, arguments.section),
        )
    )


LIST_DOCUMENTS: Final = Tool(
    name="list_documents",
    title="List documents",
    description="The user's own documents, newest first. What others shared with them is found by `search`.",
    permission=Permission.DOCUMENTS_READ,
    arguments=PageArguments,
    result=Page[DocumentObject],
    run=_list,
)
GET_DOCUMENT: Final = Tool(
    name="get_document",
    title="Describe a document",
    description="A document's name, size, type and version, and whether its text can be read.",
    permission=Permission.DOCUMENTS_READ,
    arguments=GetDocumentArguments,
    result=DescribedDocument,
    run=_get,
)
READ_DOCUMENT: Final = Tool(
    name="read_document",
    title="Read a document",
    description=(
        "A document's text in pieces, each with its page, headings and offsets: all of it, one page, or one section. "
        "Where `has_more`, call it again with `last_id` as `after`."
    ),
    permission=Permission.DOCUMENTS_READ,
    arguments=ReadDocumentArguments,
    result=Page[TextPieceObject],
    run=_read,
)
