"""Verification links, and the public page that they lead to."""

import io
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import segno
from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.responses import HTMLResponse, JSONResponse, Response

from undercroft.http.callers import SharingReader, SharingWriter
from undercroft.http.deps import NativeRoute, PublicRoute, ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors, problems
from undercroft.http.openai.paging import After, Limit
from undercroft.http.record_views import require_record_id
from undercroft.http.services import Services
from undercroft.http.sharing_views import Pointer
from undercroft.http.verification_page import (
    HEADERS,
    show_form,
    show_link,
    show_message,
    show_verdict,
)
from undercroft.http.verification_views import (
    LinkVerificationObject,
    NewVerificationLinkObject,
    VerificationLinkObject,
    render_link,
    render_link_verdict,
)
from undercroft.http.wire import RequestBody, page_of, require_id
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.vault.models import LARGEST_VERSION
from undercroft.vault.records.commitments import MOST_FIELDS
from undercroft.verification.errors import NoProofError
from undercroft.verification.links.models import (
    LONGEST_LIFETIME,
    VERIFICATION_LINK_PREFIX,
    CreatedVerificationLink,
)
from undercroft.verification.submitted import LARGEST_PROOF

router = APIRouter(tags=["verification"], route_class=NativeRoute)
public_router = APIRouter(tags=["verification"], route_class=PublicRoute)

_SECONDS: Final = 30 * 24 * 3600
_PAGE: Final[dict[str, Any]] = {"text/html": {}}
_HTML: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The page.", "content": _PAGE}
}


def _problems_or_pages(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors as a person is shown some of them, and a program all."""
    return {
        status: {**problem, "content": {**problem["content"], **_PAGE}}
        for status, problem in problems(*statuses).items()
    }


class CreateVerificationLink(RequestBody):
    """Which version of which document anybody may verify by the link, or which fields of a record's."""

    document: Annotated[str | None, Field(max_length=64)] = None
    record: Annotated[
        str | None, Field(max_length=64, description="In the place of `document`.")
    ] = None
    fields: Annotated[
        list[Pointer] | None,
        Field(
            min_length=1,
            max_length=MOST_FIELDS,
            description="Of the record: JSON Pointers, none inside another.",
        ),
    ] = None
    version: Annotated[int, Field(ge=1, le=LARGEST_VERSION)]
    expires_in: Annotated[
        int,
        Field(
            ge=1,
            le=int(LONGEST_LIFETIME.total_seconds()),
            description="Seconds that it counts; thirty days unless given.",
        ),
    ] = _SECONDS


@router.post(
    "/v1/verification-links",
    summary="Make a verification link",
    status_code=201,
    response_model=NewVerificationLinkObject,
    responses={
        **answers(201, "The link with its token.", "Location"),
        **errors(403, 404, 409, 410),
    },
)
async def create_verification_link(
    body: CreateVerificationLink,
    request: Request,
    caller: SharingWriter,
    services: ServicesDependency,
    response: Response,
) -> dict[str, Any]:
    """Whoever follows it learns whether that is there unchanged, with SHA-256 of the content or of each field."""
    made = await _make(body, caller, services)
    shown = render_link(made.link)
    url = f"{str(request.base_url).rstrip('/')}/verify/{made.token}"
    response.headers["Location"] = f"/v1/verification-links/{shown['id']}"
    return {**shown, "token": made.token, "url": url, "qr": _draw(url)}


@router.get(
    "/v1/verification-links",
    summary="List verification links",
    response_model=Page[VerificationLinkObject],
    responses=errors(404),
)
async def list_verification_links(
    caller: SharingReader, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """Those that you made, the oldest first."""
    last = None if after is None else _require_link_id(after, "after")
    links = await services.proof.verification_links.list_links(caller, after=last, limit=limit + 1)
    return page_of(list(map(render_link, links)), limit)


@router.delete(
    "/v1/verification-links/{link_id}",
    summary="Revoke a verification link",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def revoke_verification_link(
    link_id: str, caller: SharingWriter, services: ServicesDependency
) -> Response:
    """From the next statement on it says nothing but that it was revoked."""
    await services.proof.verification_links.revoke(caller, _require_link_id(link_id))
    return Response(status_code=204)


@public_router.get(
    "/verify", summary="The verification page", response_class=HTMLResponse, responses=_HTML
)
async def get_verification_page() -> HTMLResponse:
    """For whoever holds a receipt, a bundle or a proof."""
    return show_form()


@public_router.post(
    "/verify",
    summary="Verify by the page's form",
    response_class=HTMLResponse,
    responses={**_HTML, **_problems_or_pages(429)},
)
async def verify_by_form(request: Request, services: ServicesDependency) -> HTMLResponse:
    """As `POST /v1/verify`, for people: `file` or the text `proof` of a form."""
    services.client_rates.count(request)
    async with request.form(max_files=1, max_fields=1, max_part_size=LARGEST_PROOF) as form:
        file, text = form.get("file"), form.get("proof")
        data = await file.read() if isinstance(file, UploadFile) else b""
        data = data or _as_handed_out(text if isinstance(text, str) else "")
    try:
        return show_verdict(await services.proof.verification.verify(data))
    except NoProofError as error:
        return show_message(error.message, error.status)


@public_router.get(
    "/verify/{token}",
    summary="Follow a verification link",
    response_model=LinkVerificationObject,
    responses={
        200: {"description": "What it says.", "content": _PAGE},
        **_problems_or_pages(404, 429),
    },
)
async def follow_verification_link(
    token: Annotated[str, Path(max_length=200)], request: Request, services: ServicesDependency
) -> Response:
    """A page for people; with `Accept: application/json` the same for programs."""
    services.client_rates.count(request)
    accepted = request.headers.get("accept", "")
    if "application/json" in accepted and "text/html" not in accepted:
        said = await services.proof.verification_links.follow(token)
        return JSONResponse(render_link_verdict(said), headers=HEADERS)
    try:
        return show_link(await services.proof.verification_links.follow(token))
    except NotFoundError as error:
        return show_message("There is no such link.", error.status)


async def _make(
    body: CreateVerificationLink, caller: SharingWriter, services: Services
) -> CreatedVerificationLink:
    links, lifetime = services.proof.verification_links, timedelta(seconds=body.expires_in)
    match body.document, body.record, body.fields:
        case str() as document, None, None:
            document_id = require_document_id(document)
            return await links.create(caller, document_id, body.version, lifetime)
        case None, str() as record, list() as fields:
            record_id = require_record_id(record)
            return await links.create_of_fields(caller, record_id, body.version, fields, lifetime)
        case (None, None, _) | (str(), str(), _):
            raise InvalidRequestError("Name either a 'document' or a 'record'.", param="document")
        case _:
            raise InvalidRequestError(
                "Name the 'fields' of a record; a document has none.", param="fields"
            )


def _as_handed_out(text: str) -> bytes:
    """A pasted proof as the service answered it: forms end lines their own way, and people lose the last end."""
    plain = text.replace("\r\n", "\n").strip()
    ending = "" if plain.startswith("{") else "\n"
    return f"{plain}{ending}".encode("utf-8", "surrogatepass")


def _draw(url: str) -> str:
    drawn = io.BytesIO()
    segno.make_qr(url, error="m").save(drawn, kind="svg", scale=4, xmldecl=False)
    return drawn.getvalue().decode().strip()


def _require_link_id(text: str, parameter: str | None = None) -> UUID:
    return require_id(VERIFICATION_LINK_PREFIX, "verification link", text, parameter)
