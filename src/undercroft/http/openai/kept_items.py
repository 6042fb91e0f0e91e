"""Items of requests as conversations keep them."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from fastapi import Query

from undercroft.chat.conversations.models import NewItem
from undercroft.chat.responses.carried import without_sealed
from undercroft.http.openai.response_inputs import (
    INCLUDE_RESULTS,
    INCLUDE_SEALED,
    Include,
    InputItem,
)
from undercroft.http.wire import JsonObject
from undercroft.kit.errors import NotFoundError

IncludeQuery: TypeAlias = Annotated[
    Include | None, Query(alias="include[]", description="What is shown beside the rest.")
]


def new_item(item: InputItem) -> NewItem:
    """An item of a request."""
    body: JsonObject = item.model_dump(exclude_none=True)
    kind = body.pop("type")
    body.pop("id", None)
    body.setdefault("status", "completed")
    if kind in {"reasoning", "compaction"}:
        # It has none in the specification.
        del body["status"]
    if kind == "message":
        body["content"] = _parts(body)
    return NewItem(kind, body)


def shown_items(items: Sequence[JsonObject], include: Sequence[str] | None) -> list[JsonObject]:
    """Items as they are answered: what a search found, and sealed thoughts, only where that is asked for."""
    wanted = include or ()
    shown = items if INCLUDE_SEALED in wanted else map(without_sealed, items)
    if INCLUDE_RESULTS in wanted:
        return list(shown)
    return [
        {**item, "results": None} if item["type"] == "file_search_call" else item for item in shown
    ]


def no_such_item(of: str, item_id: str) -> NotFoundError:
    """The error for a page after an item that there is not."""
    identifier = item_id[:100].encode("ascii", "replace").decode()
    return NotFoundError(f"item of the {of}", identifier, param="after")


def _parts(message: JsonObject) -> list[JsonObject]:
    """A message's content as it is answered: texts of an assistant with their annotations, of others without."""
    content = message["content"]
    given: list[JsonObject] = [{"text": content}] if isinstance(content, str) else content
    if message["role"] != "assistant":
        return list(map(_part, given))
    return [
        {
            "type": "output_text",
            "text": part["text"],
            "annotations": part.get("annotations", []),
            "logprobs": [],
        }
        for part in given
    ]


def _part(given: JsonObject) -> JsonObject:
    match given.get("type"):
        case "input_image":
            return {name: given[name] for name in ("type", "image_url", "detail")}
        case "input_file":
            names = ("type", "file_id", "filename", "text")
            return {name: given[name] for name in names if name in given}
        case _:
            return {"type": "input_text", "text": given["text"]}
