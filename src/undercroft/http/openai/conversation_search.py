"""Searching conversations by words."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from undercroft.chat.conversations.models import CONVERSATION_PREFIX
from undercroft.chat.conversations.searching.service import FoundConversation
from undercroft.http.callers import ResponseReader
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.openai.conversations import require_conversation_id
from undercroft.http.wire import JsonObject, RequestBody
from undercroft.kit.ids import render_id

router = APIRouter(tags=["conversations"], route_class=AuthenticatedRoute)


class SearchConversations(RequestBody):
    """Which words to look for."""

    query: Annotated[str, Field(min_length=1, max_length=512)]
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    after: Annotated[str, Field(max_length=64)] | None = None


@router.post("/v1/conversations/search", summary="Search conversations", responses=errors(404, 410))
async def search_conversations(
    body: SearchConversations, caller: ResponseReader, services: ServicesDependency
) -> dict[str, Any]:
    """Conversations that the caller may read in which an item has all of the words, the newest first.

    They are looked through, 1,000 items of each and 50 conversations at most. Where there are more `has_more` is true,
    and `last_id` is the `after` of the next request.
    """
    found = await services.chat.conversation_search.search(
        caller,
        body.query,
        None if body.after is None else require_conversation_id(body.after, "after"),
        body.limit,
    )
    return {
        "object": "list",
        "data": [_render(conversation) for conversation in found.conversations],
        "has_more": found.last is not None,
        "last_id": None if found.last is None else render_id(CONVERSATION_PREFIX, found.last),
    }


def _render(found: FoundConversation) -> JsonObject:
    return {
        "object": "conversation.search_result",
        "conversation": render_id(CONVERSATION_PREFIX, found.id),
        "items": [
            {"id": item.wire["id"], "role": item.wire["role"], "text": item.excerpt}
            for item in found.items
        ],
    }
