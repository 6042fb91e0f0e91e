"""Documents: the forms that bring contents, encrypted while they arrive."""

from typing import Annotated, Final

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from undercroft.http.callers import DocumentWriter
from undercroft.http.conditional import IfMatch, require_revisions
from undercroft.http.deps import ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.objects import DocumentObject, SeenDocument
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.files import clean_filename
from undercroft.http.routes.documents import answer_made
from undercroft.http.upload_form import UploadRoute, incoming_of
from undercroft.http.wire import Metadata, StorableText
from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.schemas.json_text import parse_json

router = APIRouter(tags=["documents"], route_class=UploadRoute)

_PURPOSE: Final = "user_data"
_METADATA: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(Metadata)

Upload = Annotated[UploadFile, File(description="The content.")]


@router.post(
    "/v1/documents",
    summary="Create a document",
    status_code=201,
    response_model=DocumentObject,
    responses={**answers(201, "The document.", "ETag", "Location"), **errors(410, 415)},
)
async def create_document(
    file: Upload,
    caller: DocumentWriter,
    services: ServicesDependency,
    sealed: Annotated[bool, Form(description="Never index it, never show it to a model.")] = False,
    name: Annotated[
        StorableText | None,
        Form(max_length=255, description="That of the file unless given."),
    ] = None,
    metadata: Annotated[
        str | None, Form(description="A JSON object of up to 16 pairs of text.")
    ] = None,
) -> Response:
    """Keep a document. It is indexed when it is first added to a vector store, unless it is sealed."""
    document = await services.vault.documents.create(
        caller,
        incoming_of(file),
        clean_filename(name or file.filename),
        _PURPOSE,
        metadata=_parse_metadata(metadata),
        is_sealed=sealed,
    )
    return answer_made(document)


@router.post(
    "/v1/documents/{document_id}/versions",
    summary="Add a version",
    status_code=201,
    response_model=SeenDocument,
    responses={
        **answers(201, "The document at its new version.", "ETag", "Location"),
        **errors(404, 409, 410, 412, 415, 428),
    },
)
async def create_version(
    document_id: str,
    file: Upload,
    caller: DocumentWriter,
    services: ServicesDependency,
    if_match: IfMatch = None,
) -> Response:
    """Make this content the document's current version. Where the document is in a vector store, it is indexed."""
    expected = require_revisions(if_match)
    document = await services.vault.versions.add(
        caller,
        require_document_id(document_id),
        incoming_of(file),
        clean_filename(file.filename),
        expected,
    )
    return answer_made(document, version=document.version)


def _parse_metadata(text: str | None) -> dict[str, str]:
    """Metadata from a form's field.

    Raises:
        InvalidRequestError: When it is none.
    """
    if text is None:
        return {}
    try:
        return _METADATA.validate_python(parse_json(text))
    except InvalidRequestError as error:
        message = f"Invalid request: 'metadata' cannot be read. {error.message}"
        raise InvalidRequestError(message, param="metadata", code=error.code) from error
    except ValidationError:
        raise InvalidRequestError(
            "Invalid request: 'metadata' should be a JSON object of at most 16 pairs of text, keys of up to 64 "
            "characters and values of up to 512.",
            param="metadata",
        ) from None
