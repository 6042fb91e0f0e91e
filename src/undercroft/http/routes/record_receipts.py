"""Receipts of records: chosen fields of a version, signed, and shown one by one."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import RecordReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.json_bodies import documented_model, read_model
from undercroft.http.objects import Shown
from undercroft.http.openai.contract import errors
from undercroft.http.record_views import require_record_id
from undercroft.http.sharing_views import Pointer
from undercroft.http.wire import RequestBody
from undercroft.vault.models import LARGEST_VERSION
from undercroft.vault.records.commitments import MOST_FIELDS

router = APIRouter(tags=["records"], route_class=NativeRoute)

Fields = Annotated[
    list[Pointer],
    Field(min_length=1, max_length=MOST_FIELDS, description="JSON Pointers, none inside another."),
]


class AskRecordReceipt(RequestBody):
    """Which fields of which version; of the latest unless a number is given."""

    fields: Fields
    version: Annotated[int | None, Field(ge=1, le=LARGEST_VERSION)] = None


class RecordOpeningObject(Shown):
    """What opens one field's commitment. Whoever hands the receipt on takes out what is nobody else's business."""

    field: str
    salt: str
    value: Annotated[str, Field(description="The field's JSON, as RFC 8785 spells it.")]


class RecordReceiptObject(Shown):
    """A receipt of fields of a record, with what opens them."""

    format: Literal["undercroft-record-fields@v1"]
    openings: list[RecordOpeningObject]
    receipt: Annotated[str, Field(description="A signed note, with a commitment to each field.")]


@router.post(
    "/v1/records/{record_id}/receipt",
    summary="Get a receipt of fields of a record",
    response_model=RecordReceiptObject,
    responses=errors(404, 409, 410, 415),
    openapi_extra=documented_model(AskRecordReceipt),
)
async def get_record_receipt(
    record_id: str, request: Request, caller: RecordReader, services: ServicesDependency
) -> Response:
    """What the tenant's log signs about these fields of a version, to be kept, shown in part and verified offline."""
    body = await read_model(request, AskRecordReceipt)
    receipt = await services.vault.record_receipts.get(
        caller, require_record_id(record_id), body.version, body.fields
    )
    return Response(receipt, media_type="application/json")
