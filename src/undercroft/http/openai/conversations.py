"""The Conversations API: turns that are kept in order, shared, and answered from."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from undercroft.chat.conversations.branches.service import no_item
from undercroft.chat.conversations.models import (
    CONVERSATION_PREFIX,
    MOST_ADDED,
    Conversation,
    IfBusy,
    ItemPage,
    NewItem,
    Parent,
    parse_item_id,
)
from undercroft.chat.conversations.reading import is_followed
from undercroft.http.callers import KnownResponseWriter, ResponseReader, ResponseWriter
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.openai.given_files import documents_in, with_texts
from undercroft.http.openai.kept_items import IncludeQuery, new_item, shown_items
from undercroft.http.openai.paging import After, Limit, Order
from undercroft.http.openai.response_inputs import InputItem
from undercroft.http.services import Services
from undercroft.http.wire import (
    JsonObject,
    Metadata,
    RequestBody,
    list_of,
    page_of,
    render_time,
    require_id,
)
from undercroft.identity.models import Principal
from undercroft.kit.errors import at_fault
from undercroft.kit.ids import render_id

router = APIRouter(tags=["conversations"], route_class=AuthenticatedRoute)

_Items: TypeAlias = Annotated[list[InputItem], Field(max_length=MOST_ADDED)]
ItemId: TypeAlias = Annotated[str, Field(max_length=64)]
BusyChoice: TypeAlias = Annotated[IfBusy, Field(strict=False)]
"""What becomes of a response that is sent while another one is made."""


class CreateConversation(RequestBody):
    """A new conversation."""

    items: _Items | None = None
    metadata: Metadata | None = None
    if_busy: BusyChoice = IfBusy.ENQUEUE


class UpdateConversation(RequestBody):
    """Metadata that takes the place of what there is; null is none. What else is left out stays."""

    metadata: Metadata | None
    if_busy: BusyChoice | None = None
    branch: ItemId | None = None


class AddItems(RequestBody):
    """Items for the end of a conversation, or to go on from one of its items."""

    items: Annotated[_Items, Field(min_length=1)]
    parent: ItemId | None = None


@router.post("/v1/conversations", summary="Create a conversation", responses=errors(404, 409, 410))
async def create_conversation(
    body: CreateConversation, caller: KnownResponseWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Begin a conversation, with these items in it."""
    made = await services.chat.conversations.create(
        caller,
        body.metadata or {},
        await _new_items(services, caller, body.items or ()),
        body.if_busy,
    )
    return render_conversation(made)


@router.get(
    "/v1/conversations/{conversation_id}",
    summary="Get a conversation",
    responses=errors(404, 410),
)
async def get_conversation(
    conversation_id: str, caller: ResponseReader, services: ServicesDependency
) -> dict[str, Any]:
    """One conversation, without its items."""
    found = await services.chat.conversations.get(caller, require_conversation_id(conversation_id))
    return render_conversation(found)


@router.post(
    "/v1/conversations/{conversation_id}",
    summary="Change a conversation",
    responses=errors(404, 409, 410),
)
async def update_conversation(
    conversation_id: str,
    body: UpdateConversation,
    caller: ResponseWriter,
    services: ServicesDependency,
) -> dict[str, Any]:
    """Replace its metadata: for its owner and for whoever was granted `write`."""
    changed = await services.chat.conversations.update(
        caller,
        require_conversation_id(conversation_id),
        body.metadata or {},
        body.if_busy,
        None if body.branch is None else _require_item_id(body.branch, "branch"),
    )
    return render_conversation(changed)


@router.delete(
    "/v1/conversations/{conversation_id}",
    summary="Delete a conversation",
    responses=errors(404, 409),
)
async def delete_conversation(
    conversation_id: str, caller: ResponseWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Delete a conversation and its items; responses that were made in it stay."""
    await services.chat.conversations.delete(caller, require_conversation_id(conversation_id))
    return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


@router.post(
    "/v1/conversations/{conversation_id}/items",
    summary="Add items to a conversation",
    responses=errors(404, 409, 410),
)
async def add_items(
    conversation_id: str,
    body: AddItems,
    caller: ResponseWriter,
    services: ServicesDependency,
    include: IncludeQuery = None,
) -> dict[str, Any]:
    """Up to 20 at its end, all or none: for its owner and for whoever was granted `write`."""
    added = await services.chat.conversations.add(
        caller,
        require_conversation_id(conversation_id),
        await _new_items(services, caller, body.items),
        require_parent(body.parent),
    )
    return page_of(shown_items(added, include), len(added))


@router.get(
    "/v1/conversations/{conversation_id}/items",
    summary="List a conversation's items",
    responses=errors(404, 410),
)
async def list_items(
    conversation_id: str,
    caller: ResponseReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    order: Order = "desc",
    include: IncludeQuery = None,
    branch: Annotated[
        ItemId | None,
        Query(description="An item whose branch is listed; the current one unless told."),
    ] = None,
    siblings_of: Annotated[
        ItemId | None, Query(description="Only items that go on from the same one as this.")
    ] = None,
) -> dict[str, Any]:
    """Its items along one branch; what is in them of documents that the caller may not or no more read is removed."""
    wanted_id = require_conversation_id(conversation_id)
    page = ItemPage(
        limit + 1,
        None if after is None else _require_item_id(after, "after"),
        order == "asc",
        None if branch is None else _require_item_id(branch, "branch"),
    )
    if siblings_of is None:
        items = await services.chat.conversations.list_items(caller, wanted_id, page)
    else:
        sibling_id = _require_item_id(siblings_of, "siblings_of")
        items = await services.chat.conversations.list_siblings(caller, wanted_id, sibling_id, page)
    shown = shown_items([item.wire for item in items[:limit]], include)
    return list_of(shown, has_more=is_followed(items, limit))


@router.get(
    "/v1/conversations/{conversation_id}/items/{item_id}",
    summary="Get an item of a conversation",
    responses=errors(404, 410),
)
async def get_item(
    conversation_id: str,
    item_id: str,
    caller: ResponseReader,
    services: ServicesDependency,
    include: IncludeQuery = None,
) -> dict[str, Any]:
    """One item, as the list shows it."""
    item = await services.chat.conversations.get_item(
        caller, require_conversation_id(conversation_id), _require_item_id(item_id)
    )
    # One item has one id: with another prefix it is that of none.
    if item["id"] != item_id:
        raise no_item(item_id)
    return shown_items([item], include)[0]


@router.delete(
    "/v1/conversations/{conversation_id}/items/{item_id}",
    summary="Delete an item of a conversation",
    responses=errors(404, 409, 410),
)
async def delete_item(
    conversation_id: str, item_id: str, caller: ResponseWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Forget an item: its owner's alone. The conversation is answered."""
    left = await services.chat.conversations.delete_item(
        caller, require_conversation_id(conversation_id), _require_item_id(item_id)
    )
    return render_conversation(left)


def render_conversation(conversation: Conversation) -> JsonObject:
    """The conversation object."""
    return {
        "id": render_id(CONVERSATION_PREFIX, conversation.id),
        "object": "conversation",
        "created_at": render_time(conversation.created_at),
        "metadata": dict(conversation.metadata),
        "if_busy": conversation.if_busy,
    }


def require_conversation_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(CONVERSATION_PREFIX, "conversation", text, param)


def require_parent(text: str | None) -> Parent | None:
    """What a request goes on from.

    Raises:
        NotFoundError: When it cannot be an item's id.
    """
    if text is None:
        return None
    return Parent(None if text == "root" else _require_item_id(text, "parent"))


async def _new_items(
    services: Services, caller: Principal, items: Sequence[InputItem]
) -> list[NewItem]:
    """What is to be kept, once it is known that the files which it names are there for the caller to search.

    Nothing reads them from here; but a reference that shows nobody anything is refused here as it is in a response.

    Raises:
        NotFoundError: When the principal may see no such file.
        NotGrantedError: When they may see it and not search it.
    """
    files = documents_in(items, "items")
    if files:
        with at_fault("items"):
            await services.retrieval.search.require_documents(caller, files)
    read = await with_texts(services.chat.file_texts, caller.tenant_id, items, "items")
    return [new_item(item) for item in read]


def _require_item_id(text: str, param: str | None = None) -> UUID:
    value = parse_item_id(text)
    if value is None:
        raise no_item(text[:100].encode("ascii", "replace").decode(), param)
    return value
