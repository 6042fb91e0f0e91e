"""Finding records by words."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import RecordReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import DamagedRecordObject, Page, RecordObject
from undercroft.http.openai.contract import errors
from undercroft.http.record_views import answer_records
from undercroft.http.schema_views import require_schema_id
from undercroft.http.wire import RequestBody
from undercroft.kit.errors import InvalidRequestError

router = APIRouter(tags=["records"], route_class=NativeRoute)


class FindRecords(RequestBody):
    """Which words to find."""

    query: Annotated[str, Field(min_length=1, max_length=4096)]
    schema_id: Annotated[str | None, Field(alias="schema", max_length=64)] = None
    limit: Annotated[int, Field(ge=1, le=50)] = 10


@router.post(
    "/v1/records/search",
    summary="Find records by words",
    response_model=Page[RecordObject | DamagedRecordObject],
    responses=errors(404, 410),
)
async def find_records(
    body: FindRecords, caller: RecordReader, services: ServicesDependency
) -> Response:
    """Records whose plain fields have all of the words, the best first: the caller's, and those that they may search.

    Words in quotes are a phrase, and one after a minus may not be there. Large records make a page short.
    """
    if not body.query.strip():
        raise InvalidRequestError("The query is empty: say what to look for.", param="query")
    page = await services.vault.record_finding.find(
        caller,
        body.query,
        None if body.schema_id is None else require_schema_id(body.schema_id, "schema"),
        body.limit,
    )
    return answer_records(page)
