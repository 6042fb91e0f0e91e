"""The events of a response that ended long ago, made again from what is kept of it. Pure.

They tell the same as those that were seen while it was made, in fewer steps: each text comes as one piece.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from undercroft.chat.responses.carried import all_without_sealed
from undercroft.chat.responses.models import WireObject

_ENDINGS: Final = {"completed": "response.completed", "failed": "response.failed"}


def rebuild_events(resource: WireObject) -> list[WireObject]:
    """The events, numbered from 0."""
    numbers = count()
    resource = all_without_sealed(resource)
    return [{**event, "sequence_number": next(numbers)} for event in _events(resource)]


def _events(resource: WireObject) -> Iterator[WireObject]:
    begun = {
        **resource,
        "status": "in_progress",
        "output": list[WireObject](),
        "completed_at": None,
        "incomplete_details": None,
        "error": None,
        "usage": None,
    }
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(resource["output"]):
        yield from _item_events(index, item)
    error = resource["error"]
    if error is not None:
        yield {"type": "error", "error": {**error, "param": None}, **error, "param": None}
    ending = _ENDINGS.get(resource["status"], "response.incomplete")
    yield {"type": ending, "response": resource}


def _item_events(index: int, item: WireObject) -> Iterator[WireObject]:
    if item["type"].startswith("mcp_"):
        yield from _tool_events(index, item)
        return
    if item["type"] == "reasoning":
        yield from _reasoning_events(index, item)
        return
    added: WireObject = {**item, "status": "in_progress"}
    if item["type"] == "message":
        added["content"] = list[WireObject]()
    if item["type"] == "function_call":
        added["arguments"] = ""
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    if item["type"] == "message":
        for part_index, part in enumerate(item["content"]):
            place = {"item_id": item["id"], "output_index": index, "content_index": part_index}
            yield from _part_events(place, part)
    if item["type"] == "function_call":
        place = {"item_id": item["id"], "output_index": index}
        name = "response.function_call_arguments"
        yield {"type": f"{name}.delta", **place, "delta": item["arguments"]}
        yield {"type": f"{name}.done", **place, "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _tool_events(index: int, item: WireObject) -> Iterator[WireObject]:
    place = {"item_id": item["id"], "output_index": index}
    added, kind = dict(item), item["type"]
    if kind == "mcp_call":
        added |= {"status": "in_progress", "arguments": "", "output": None, "error": None}
    elif kind == "mcp_list_tools":
        added |= {"tools": list[WireObject](), "error": None}
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    if kind in {"mcp_call", "mcp_list_tools"}:
        yield {"type": f"response.{kind}.in_progress", **place}
    if kind == "mcp_call":
        name, arguments = "response.mcp_call_arguments", item["arguments"]
        yield {"type": f"{name}.delta", **place, "delta": arguments}
        yield {"type": f"{name}.done", **place, "arguments": arguments}
    if kind in {"mcp_call", "mcp_list_tools"}:
        status = "completed" if item["error"] is None else "failed"
        yield {"type": f"response.{kind}.{status}", **place}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _reasoning_events(index: int, item: WireObject) -> Iterator[WireObject]:
    place = {"item_id": item["id"], "output_index": index}
    added = {**item, "summary": list[WireObject](), "content": list[WireObject]()}
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    told = (
        ("summary_index", "reasoning_summary_part", "reasoning_summary_text", item["summary"]),
        ("content_index", "content_part", "reasoning", item.get("content", ())),
    )
    for number, part_name, text_name, parts in told:
        for part_index, part in enumerate(parts):
            at = {**place, number: part_index}
            yield {"type": f"response.{part_name}.added", **at, "part": {**part, "text": ""}}
            yield {"type": f"response.{text_name}.delta", **at, "delta": part["text"]}
            yield {"type": f"response.{text_name}.done", **at, "text": part["text"]}
            yield {"type": f"response.{part_name}.done", **at, "part": part}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(place: dict[str, Any], part: WireObject) -> Iterator[WireObject]:
    empty = {**part, "text": "", "annotations": list[WireObject]()}
    text = {"logprobs": list[WireObject]()}
    yield {"type": "response.content_part.added", **place, "part": empty}
    yield {"type": "response.output_text.delta", **place, "delta": part["text"], **text}
    for index, annotation in enumerate(part["annotations"]):
        yield {
            "type": "response.output_text.annotation.added",
            **place,
            "annotation_index": index,
            "annotation": annotation,
        }
    yield {"type": "response.output_text.done", **place, "text": part["text"], **text}
    yield {"type": "response.content_part.done", **place, "part": part}
