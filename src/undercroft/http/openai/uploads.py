"""The Uploads API: a file in parts."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, File, Request, UploadFile
from pydantic import Field

from undercroft.http.callers import DocumentWriter
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.openai.files import Purpose, clean_filename, render_file
from undercroft.http.services import Services
from undercroft.http.upload_form import Admission, UploadRoute, incoming_of, require_room
from undercroft.http.wire import JsonObject, RequestBody, render_time, require_id
from undercroft.identity.models import Principal
from undercroft.kit.ids import parse_id, render_id
from undercroft.vault.uploads.errors import UnknownPartError
from undercroft.vault.uploads.models import MOST_PARTS, PART_PREFIX, UPLOAD_PREFIX, Upload


class PartRoute(UploadRoute):
    """A route whose form holds a part of an upload."""

    async def admit(self, request: Request, services: Services, principal: Principal) -> Admission:
        """A part of an upload that takes parts."""
        upload_id = _require_id(str(request.path_params["upload_id"]))
        room = await require_room(request, services, principal)
        incoming = await services.vault.uploads.begin_part(principal, upload_id)
        return Admission(lambda: incoming, room)


router = APIRouter(tags=["uploads"], route_class=AuthenticatedRoute)
parts_router = APIRouter(tags=["uploads"], route_class=PartRoute)


class CreateUpload(RequestBody):
    """What will be uploaded."""

    filename: Annotated[str, Field(min_length=1, max_length=1000)]
    purpose: Purpose
    bytes: Annotated[int, Field(ge=1, le=2**62)]
    mime_type: Annotated[str, Field(min_length=1, max_length=255)]
    expires_after: None = None


class CompleteUpload(RequestBody):
    """Which parts make up the file."""

    part_ids: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=MOST_PARTS)
    ]
    md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")] | None = None


@router.post("/v1/uploads", summary="Begin an upload", responses=errors(410))
async def create_upload(
    body: CreateUpload, caller: DocumentWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Begin to upload a file in parts. It expires in an hour. The file's type is told by its bytes, not by this."""
    filename = clean_filename(body.filename)
    upload = await services.vault.uploads.create(caller, filename, body.purpose, body.bytes)
    return _render(upload)


@parts_router.post(
    "/v1/uploads/{upload_id}/parts", summary="Add a part", responses=errors(404, 410)
)
async def add_part(
    upload_id: str,
    data: Annotated[UploadFile, File(description="The part: up to 64 MiB.")],
    caller: DocumentWriter,
    services: ServicesDependency,
) -> dict[str, Any]:
    """Keep a part. Parts may come in any order, at once, and over restarts of the service."""
    part = await services.vault.uploads.add_part(caller, _require_id(upload_id), incoming_of(data))
    return {
        "id": render_id(PART_PREFIX, part.id),
        "object": "upload.part",
        "created_at": render_time(part.created_at),
        "upload_id": upload_id,
    }


@router.post(
    "/v1/uploads/{upload_id}/complete",
    summary="Complete an upload",
    responses=errors(404, 409, 410, 415),
)
async def complete_upload(
    upload_id: str, body: CompleteUpload, caller: DocumentWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Make a file of the parts, in the given order. Doing so again within the hour answers the same file."""
    part_ids = [_require_part_id(text) for text in body.part_ids]
    md5 = None if body.md5 is None else bytes.fromhex(body.md5)
    upload = await services.vault.uploads.complete(caller, _require_id(upload_id), part_ids, md5)
    return _render(upload)


@router.post(
    "/v1/uploads/{upload_id}/cancel", summary="Cancel an upload", responses=errors(404, 410)
)
async def cancel_upload(
    upload_id: str, caller: DocumentWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Give an upload up and delete its parts."""
    return _render(await services.vault.uploads.cancel(caller, _require_id(upload_id)))


def _render(upload: Upload) -> JsonObject:
    return {
        "id": render_id(UPLOAD_PREFIX, upload.id),
        "object": "upload",
        "bytes": upload.byte_size,
        "created_at": render_time(upload.created_at),
        "expires_at": render_time(upload.expires_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.state,
        "file": None if upload.document is None else render_file(upload.document),
    }


def _require_id(text: str) -> UUID:
    return require_id(UPLOAD_PREFIX, "upload", text)


def _require_part_id(text: str) -> UUID:
    part_id = parse_id(PART_PREFIX, text)
    if part_id is None:
        raise UnknownPartError
    return part_id
