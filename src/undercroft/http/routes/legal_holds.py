"""Legal holds: what an admin says has to be kept can be deleted by nobody."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import Administrator
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.document_views import require_document_id
from undercroft.http.objects import LegalHoldObject
from undercroft.http.openai.contract import errors
from undercroft.http.wire import RequestBody, render_time
from undercroft.kit.ids import render_id
from undercroft.vault.models import DOCUMENT_PREFIX

router = APIRouter(tags=["documents"], route_class=NativeRoute)


class PlaceLegalHold(RequestBody):
    """Why the document has to be kept."""

    reason: Annotated[
        str,
        Field(
            pattern="^[a-z][a-z0-9_.:-]{0,63}$",
            description="A code, such as litigation-42: the ledger keeps it for ever, so no free text.",
        ),
    ]


@router.put(
    "/v1/documents/{document_id}/legal-hold",
    summary="Place a legal hold",
    response_model=LegalHoldObject,
    responses=errors(404),
)
async def place_legal_hold(
    document_id: str, body: PlaceLegalHold, caller: Administrator, services: ServicesDependency
) -> dict[str, Any]:
    """Have a document kept, whoever's of the tenant it is. Nothing of what it holds is shown. Admins only."""
    hold = await services.vault.holds.place(caller, require_document_id(document_id), body.reason)
    return {
        "object": "legal_hold",
        "document": render_id(DOCUMENT_PREFIX, hold.document_id),
        "reason": hold.reason,
        "placed_at": render_time(hold.placed_at),
    }


@router.delete(
    "/v1/documents/{document_id}/legal-hold",
    summary="Lift a legal hold",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def lift_legal_hold(
    document_id: str, caller: Administrator, services: ServicesDependency
) -> Response:
    """Let its owner delete the document again. Admins only."""
    await services.vault.holds.lift(caller, require_document_id(document_id))
    return Response(status_code=204)
