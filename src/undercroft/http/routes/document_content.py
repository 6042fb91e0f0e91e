"""Documents: their contents, in one piece or a range of bytes."""

from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from undercroft.http.callers import DocumentReader
from undercroft.http.conditional import (
    IfNoneMatch,
    IfRange,
    Range,
    RangeNotSatisfiableError,
    is_known,
    select_range,
)
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.errors import render_error
from undercroft.http.openai.contract import answers, errors
from undercroft.http.revocable import RevocableResponse
from undercroft.http.routes.documents import VersionNumber
from undercroft.http.services import Services
from undercroft.identity.models import Principal
from undercroft.vault.models import DocumentVersion
from undercroft.vault.versions import Span, VersionContent

router = APIRouter(tags=["documents"], route_class=NativeRoute)

_BYTES: Final[dict[str, Any]] = {"application/octet-stream": {}}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {**answers(200, "All of its bytes.", "ETag")[200], "content": _BYTES},
    206: {
        **answers(206, "The range that was asked for.", "ETag", "Content-Range")[206],
        "content": _BYTES,
    },
    **answers(304, "It is what the client has.", "ETag"),
    **errors(404, 409, 410, 416),
}


@router.get(
    "/v1/documents/{document_id}/content",
    summary="Download a document",
    response_class=StreamingResponse,
    responses=_RESPONSES,
)
async def get_content(
    request: Request,
    document_id: str,
    caller: DocumentReader,
    services: ServicesDependency,
    if_none_match: IfNoneMatch = None,
    range_header: Range = None,
    if_range: IfRange = None,
) -> Response:
    """The bytes of the current version, as they were uploaded. Under a grant they stop when that ends."""
    wanted = _Wanted(request, if_none_match, range_header, if_range)
    return await wanted.answer(caller, services, require_document_id(document_id), None)


@router.head("/v1/documents/{document_id}/content", include_in_schema=False)
async def head_content(
    request: Request, document_id: str, caller: DocumentReader, services: ServicesDependency
) -> Response:
    """The headers of the same."""
    wanted = _Wanted(request, None, None, None)
    return await wanted.answer(caller, services, require_document_id(document_id), None)


@router.get(
    "/v1/documents/{document_id}/versions/{number}/content",
    summary="Download a version",
    response_class=StreamingResponse,
    responses=_RESPONSES,
)
async def get_version_content(
    request: Request,
    document_id: str,
    number: VersionNumber,
    caller: DocumentReader,
    services: ServicesDependency,
    if_none_match: IfNoneMatch = None,
    range_header: Range = None,
    if_range: IfRange = None,
) -> Response:
    """The bytes of a version, as they were uploaded."""
    wanted = _Wanted(request, if_none_match, range_header, if_range)
    return await wanted.answer(caller, services, require_document_id(document_id), number)


@router.head("/v1/documents/{document_id}/versions/{number}/content", include_in_schema=False)
async def head_version_content(
    request: Request,
    document_id: str,
    number: VersionNumber,
    caller: DocumentReader,
    services: ServicesDependency,
) -> Response:
    """The headers of the same."""
    wanted = _Wanted(request, None, None, None)
    return await wanted.answer(caller, services, require_document_id(document_id), number)


class _Wanted:
    """What a request asks for of a content."""

    def __init__(
        self,
        request: Request,
        if_none_match: str | None,
        range_header: str | None,
        if_range: str | None,
    ) -> None:
        self._request = request
        self._if_none_match = if_none_match
        self._range = range_header
        self._if_range = if_range

    async def answer(
        self, caller: Principal, services: Services, document_id: UUID, number: int | None
    ) -> Response:
        """The bytes, or that there are none to send."""
        try:
            found = await services.vault.versions.read(caller, document_id, number, self._select)
        except RangeNotSatisfiableError as error:
            refused = render_error(self._request.url.path, error)
            refused.headers["Content-Range"] = f"bytes */{error.size}"
            return refused
        headers = _headers(found)
        if found.span is None or found.blocks is None:
            if self._request.method == "HEAD":
                headers["Content-Length"] = str(found.version.byte_size)
                return Response(media_type="application/octet-stream", headers=headers)
            return Response(status_code=304, headers=headers)
        start, end = found.span
        size = found.version.byte_size
        headers["Content-Length"] = str(end - start)
        status = 200 if self._chosen(found.version) is None else 206
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        releases = found.document.releases
        return RevocableResponse(
            services.sharing.watched_grants, caller, releases, found.blocks, status, headers
        )

    def _select(self, version: DocumentVersion) -> Span | None:
        """Nothing is read, and so nothing put on record, for a client that gets no bytes."""
        if self._request.method == "HEAD" or is_known(_tag(version), self._if_none_match):
            return None
        chosen = self._chosen(version)
        return (0, version.byte_size) if chosen is None else chosen

    def _chosen(self, version: DocumentVersion) -> Span | None:
        return select_range(version.byte_size, _tag(version), self._range, self._if_range)


def _tag(version: DocumentVersion) -> str:
    """The same content has the same tag, whichever version it is of."""
    return f'"{version.blob_id.hex}"'


def _headers(found: VersionContent) -> dict[str, str]:
    name = quote(found.document.filename, safe="")
    return {
        "ETag": _tag(found.version),
        "Accept-Ranges": "bytes",
        # What is deleted must not go on being read from a cache.
        "Cache-Control": "private, no-cache",
        # A stranger's HTML must not run in the origin of this service.
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "X-Content-Type-Options": "nosniff",
    }
