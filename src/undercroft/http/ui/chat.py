"""The AI SDK's UI message stream: what `useChat` sends and shows, over the same responses and conversations."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from undercroft.chat.conversations.models import ItemPage, Parent, parse_item_id
from undercroft.chat.conversations.reading import is_followed
from undercroft.chat.responses.models import RESPONSE_PREFIX, ResponseRequest
from undercroft.http.begun import once_begun
from undercroft.http.callers import KnownResponseWriter, ResponseReader, ResponseWriter
from undercroft.http.deps import NativeRoute, ServicesDependency, require_permission
from undercroft.http.errors import openai_error
from undercroft.http.idempotency import REPLAYED_HEADER, asked_key, named_key
from undercroft.http.openai.contract import errors
from undercroft.http.rate_limits import counting
from undercroft.http.services import Services
from undercroft.http.sse import EventStreamResponse, encode_event
from undercroft.http.ui.chat_requests import SendChat, own_names
from undercroft.http.ui.chunks import ChunkWriter, fail
from undercroft.http.ui.messages import messages_of
from undercroft.http.wire import JsonObject, require_id
from undercroft.idempotency.models import RequestKey
from undercroft.idempotency.service import MadeBeforeError, Once
from undercroft.identity.models import Permission, Principal
from undercroft.kit.errors import UnavailableError, UndercroftError
from undercroft.kit.ids import parse_id

router = APIRouter(tags=["ui message stream"], route_class=NativeRoute)

_HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}
_STREAM: Final[dict[str, Any]] = {
    "description": "Chunks of the AI SDK's UI message stream, ended by `data: [DONE]`.",
    "content": {"text/event-stream": {}},
}
_IDLE: Final[dict[str, Any]] = {"description": "Nothing of the caller's is being answered."}
_ChatId = Annotated[
    str, Path(max_length=128, description="A conversation's id, or what the client calls the chat.")
]


@router.post(
    "/v1/ui/chat",
    summary="Send to a chat",
    response_model=None,
    response_class=Response,
    responses={200: _STREAM, **errors(404, 409, 410, 429, 502)},
)
async def send_to_chat(
    body: SendChat, caller: KnownResponseWriter, services: ServicesDependency, request: Request
) -> Response:
    """Answer the last message, in the conversation that the chat is; a chat that is not there begins."""
    # The model is told what was said before, and can be asked to repeat it.
    await require_permission(services, caller, Permission.RESPONSES_READ)
    with own_names():
        wanted = await _wanted(services, caller, body)
    key = await asked_key(request, caller) or _own_key(request, caller, body, wanted)
    made_id = None if key is None else await services.idempotency.find_made(caller, key)
    if made_id is None:
        once = None if key is None else Once(services.idempotency, caller, key)
        events = services.chat.responses.stream(caller, wanted, once, counting(request, caller))
        try:
            with own_names():
                return await _stream(request, events, names_message=not body.answers_calls)
        except MadeBeforeError as known:
            made_id = known.made_id
    again = services.chat.responses.watch(
        caller, _require_response(made_id), -1, tells_waiting=True
    )
    answer = await _stream(request, again, names_message=not body.answers_calls)
    answer.headers[REPLAYED_HEADER] = "true"
    return answer


@router.get(
    "/v1/ui/chat/{chat_id}/stream",
    summary="Resume a chat's stream",
    response_model=None,
    response_class=Response,
    responses={200: _STREAM, 204: _IDLE, **errors(403, 404, 410)},
)
async def resume_chat(
    chat_id: _ChatId, caller: ResponseReader, services: ServicesDependency, request: Request
) -> Response:
    """The answer to the caller that is being made, from its beginning on; 204 when there is none."""
    open_ids = await _open_ids(services, caller, chat_id)
    if not open_ids:
        return Response(status_code=204)
    events = services.chat.responses.watch(caller, open_ids[0], -1, tells_waiting=True)
    return await _stream(request, events, names_message=True)


@router.post(
    "/v1/ui/chat/{chat_id}/stop",
    summary="Stop a chat's answers",
    status_code=204,
    response_class=Response,
    responses=errors(404, 410, 503),
)
async def stop_chat(
    chat_id: _ChatId, caller: ResponseWriter, services: ServicesDependency
) -> Response:
    """End what is being answered to the caller, or waits to be; what was made of it is kept."""
    # Those that wait first, so that none of them begins.
    late: UnavailableError | None = None
    for response_id in reversed(await _open_ids(services, caller, chat_id)):
        try:
            await services.chat.responses.cancel(caller, response_id)
        except UnavailableError as error:
            # The others are to end all the same.
            late = error
    if late is not None:
        raise late
    return Response(status_code=204)


@router.get(
    "/v1/ui/chat/{chat_id}/messages",
    summary="List a chat's messages",
    responses=errors(404, 410),
)
async def list_chat_messages(
    chat_id: _ChatId,
    caller: ResponseReader,
    services: ServicesDependency,
    limit: Annotated[
        int, Query(ge=1, le=100, description="Of how many items at most: the newest.")
    ] = 100,
) -> dict[str, Any]:
    """The current branch as UI messages, oldest first; what the caller may not or no more read is removed from them."""
    conversation_id = await services.chat.chats.find(caller, chat_id)
    if conversation_id is None:
        return {"object": "list", "data": [], "has_more": False}
    items = await services.chat.conversations.list_items(
        caller, conversation_id, ItemPage(limit + 1)
    )
    messages = messages_of(items[:limit][::-1])
    is_part = is_followed(items, limit)
    if is_part and len(messages) > 1 and messages[0]["role"] == "assistant":
        # Its beginning may be among what is left out.
        del messages[0]
    return {"object": "list", "data": messages, "has_more": is_part}


async def _wanted(services: Services, caller: Principal, body: SendChat) -> ResponseRequest:
    """The request, with the conversation that it is for and the place in it."""
    default_model = services.chat.answers.default_model
    found_id = await services.chat.chats.find(caller, body.id)
    if found_id is None:
        # What cannot be answered begins nothing.
        wanted = body.as_request(default_model, services.ids.new())
        await services.chat.answers.check(caller, wanted.question)
        found_id = await services.chat.chats.begin(caller, body.id)
    wanted = body.as_request(default_model, found_id)
    return replace(wanted, parent=await _parent(services, caller, body, found_id))


async def _parent(
    services: Services, caller: Principal, body: SendChat, conversation_id: UUID
) -> Parent | None:
    """What the message goes on from that is said or answered anew; an unknown one is new."""
    for name in body.sibling_of:
        named_id = parse_item_id(name) or parse_id(RESPONSE_PREFIX, name)
        parent = await services.chat.chats.find_parent(caller, conversation_id, named_id, name)
        if parent is not None:
            return parent
    return None


def _own_key(
    request: Request, caller: Principal, body: SendChat, wanted: ResponseRequest
) -> RequestKey | None:
    """A new message has a name: sent twice, by a retry or two clicks, it is answered once."""
    if body.name is None:
        return None
    return named_key(request, caller, f"{wanted.conversation_id}/{body.name}", body.digest())


async def _open_ids(services: Services, caller: Principal, chat_id: str) -> list[UUID]:
    """What is being answered to the caller in a chat, and then what waits."""
    conversation_id = await services.chat.chats.find(caller, chat_id)
    if conversation_id is None:
        return []
    await services.chat.conversations.get(caller, conversation_id)
    turns = await services.chat.responses.open_turns.list_own(caller, conversation_id)
    return [turn.response_id for turn in turns]


async def _stream(
    request: Request, events: AsyncGenerator[JsonObject], *, names_message: bool
) -> EventStreamResponse:
    begun = await once_begun(request, events)
    chunks = _encoded(begun, ChunkWriter(names_message=names_message))
    return EventStreamResponse(chunks, _failure, headers=_HEADERS)


async def _encoded(
    events: AsyncGenerator[JsonObject], writer: ChunkWriter
) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            # Chunks of one event in one block.
            block = b"".join(map(encode_event, writer.take(event)))
            if block:
                yield block


def _failure(error: UndercroftError) -> bytes:
    return b"".join(map(encode_event, fail(openai_error(error))))


def _require_response(text: str) -> UUID:
    return require_id(RESPONSE_PREFIX, "response", text)
