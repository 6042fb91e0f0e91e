"""The Responses API: answers with citations, streamed or whole."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from undercroft.chat.responses.models import ResponseRequest
from undercroft.http.begun import once_begun
from undercroft.http.callers import ResponseReader, ResponseWriter
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency, require_permission
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.errors import openai_error
from undercroft.http.idempotency import REPLAYED_HEADER, asked_key
from undercroft.http.openai.asking import as_wanted, own_names, require_response_id
from undercroft.http.openai.contract import EVENT_STREAM, errors
from undercroft.http.openai.kept_items import IncludeQuery, no_such_item, shown_items
from undercroft.http.openai.paging import After, Limit, Order
from undercroft.http.openai.response_inputs import INCLUDE_SEALED
from undercroft.http.openai.response_requests import CreateResponse
from undercroft.http.rate_limits import counting
from undercroft.http.services import Services
from undercroft.http.sse import EventStreamResponse, encode_event
from undercroft.http.wire import JsonObject, page_of
from undercroft.idempotency.service import MadeBeforeError, Once
from undercroft.identity.models import Permission, Principal
from undercroft.kit.errors import InvalidRequestError, UndercroftError

router = APIRouter(tags=["responses"], route_class=AuthenticatedRoute)

_LARGEST_EVENT_NUMBER: Final = 2**31 - 1


@router.post(
    "/v1/responses",
    summary="Create a response",
    response_model=None,
    responses={200: EVENT_STREAM, **errors(404, 409, 410, 429, 502)},
)
async def create_response(
    body: CreateResponse, caller: ResponseWriter, services: ServicesDependency, request: Request
) -> Response | EventStreamResponse:
    """Answer a question, from the documents of the given vector stores if there are any, with verified citations."""
    key = await asked_key(request, caller)
    wanted = await as_wanted(services, caller, body, has_key=key is not None)
    if key is None:
        return await _make(request, services, caller, wanted, None, is_stream=bool(body.stream))
    made_id = await services.idempotency.find_made(caller, key)
    if made_id is None:
        once = Once(services.idempotency, caller, key)
        try:
            return await _make(request, services, caller, wanted, once, is_stream=bool(body.stream))
        except MadeBeforeError as known:
            made_id = known.made_id
    return await _attach(request, services, caller, wanted, made_id, is_stream=bool(body.stream))


async def _make(
    request: Request,
    services: Services,
    caller: Principal,
    wanted: ResponseRequest,
    once: Once | None,
    *,
    is_stream: bool,
) -> Response:
    """A new response."""
    charge = counting(request, caller)
    with own_names():
        if is_stream:
            return await _stream(
                request, services.chat.responses.stream(caller, wanted, once, charge)
            )
        if wanted.is_background:
            return JSONResponse(await services.chat.responses.begin(caller, wanted, once, charge))
        created = services.chat.responses.create(caller, wanted, once, charge)
        return JSONResponse(await unless_disconnected(request, created))


async def _attach(
    request: Request,
    services: Services,
    caller: Principal,
    wanted: ResponseRequest,
    made_id: str,
    *,
    is_stream: bool,
) -> Response:
    """What was made when this was asked before, from its first event on; or as it is by now."""
    response_id = require_response_id(made_id)
    if is_stream:
        watched = services.chat.responses.watch(caller, response_id, -1, tells_waiting=True)
        answer = await _stream(request, watched)
    elif wanted.is_background:
        answer = JSONResponse(await services.chat.responses.get(caller, response_id))
    else:
        waited = services.chat.responses.wait(caller, response_id)
        answer = JSONResponse(await unless_disconnected(request, waited))
    answer.headers[REPLAYED_HEADER] = "true"
    return answer


@router.get(
    "/v1/responses/{response_id}",
    summary="Get a response",
    response_model=None,
    responses={200: EVENT_STREAM, **errors(403, 404, 409, 410)},
)
async def get_response(
    response_id: str,
    caller: ResponseReader,
    services: ServicesDependency,
    request: Request,
    stream: Annotated[bool, Query(description="Its events, live while it is being made.")] = False,
    starting_after: Annotated[
        int | None,
        Query(
            ge=0, le=_LARGEST_EVENT_NUMBER, description="With `stream`: only the events after this."
        ),
    ] = None,
    include: IncludeQuery = None,
) -> Response | EventStreamResponse:
    """A kept response, without its content once one of its sources can no longer be read; or its events."""
    kept_id = require_response_id(response_id)
    if stream:
        after = -1 if starting_after is None else starting_after
        watched = services.chat.responses.watch(caller, kept_id, after, tells_waiting=True)
        return await _stream(request, watched)
    if starting_after is not None:
        raise InvalidRequestError(
            "It goes with 'stream': set that to true, or leave it out.", param="starting_after"
        )
    sealed = INCLUDE_SEALED in (include or ())
    return JSONResponse(await services.chat.responses.get(caller, kept_id, include_sealed=sealed))


@router.get(
    "/v1/responses/{response_id}/input_items",
    summary="List what a response was asked with",
    responses=errors(403, 404, 410),
)
async def list_input_items(
    response_id: str,
    caller: ResponseReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    order: Order = "desc",
    include: IncludeQuery = None,
) -> dict[str, Any]:
    """The items of its own request; what came before it is listed by the response that it goes on from."""
    items = await services.chat.responses.list_input(caller, require_response_id(response_id))
    if order == "desc":
        items.reverse()
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise no_such_item("response", after)
        items = items[ids.index(after) + 1 :]
    return page_of(shown_items(items[: limit + 1], include), limit)


@router.post(
    "/v1/responses/{response_id}/cancel",
    summary="Cancel a response",
    responses=errors(403, 404, 410, 503),
)
async def cancel_response(
    response_id: str, caller: ResponseWriter, services: ServicesDependency
) -> dict[str, Any]:
    """End a response that is being made; what was made of it is kept. One that has ended stays as it is."""
    # It answers with the response, as a reading would.
    await require_permission(services, caller, Permission.RESPONSES_READ)
    return await services.chat.responses.cancel(caller, require_response_id(response_id))


@router.delete(
    "/v1/responses/{response_id}", summary="Delete a response", responses=errors(404, 410)
)
async def delete_response(
    response_id: str, caller: ResponseWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Delete a kept response."""
    await services.chat.responses.delete(caller, require_response_id(response_id))
    return {"id": response_id, "object": "response", "deleted": True}


async def _stream(request: Request, events: AsyncGenerator[JsonObject]) -> EventStreamResponse:
    return EventStreamResponse(_encoded(await once_begun(request, events)), _failure)


async def _encoded(events: AsyncGenerator[JsonObject]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            yield encode_event(event, event["type"])


def _failure(error: UndercroftError) -> bytes:
    return encode_event({"type": "error", "error": openai_error(error)}, "error")
