"""A conversation's items as messages of the AI SDK's, as `useChat` shows them after a stream. Pure."""

from collections.abc import Sequence
from typing import Any

from undercroft.chat.conversations.reading import ReadItem
from undercroft.chat.given_files import UNNAMED
from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.http.ui.chunks import SEARCH_TOOL, call_input, failure_of, source_of
from undercroft.http.wire import JsonObject
from undercroft.kit.ids import render_id


def messages_of(items: Sequence[ReadItem]) -> list[JsonObject]:
    """The messages that items are, in their order. What follows a user's message is one message of the assistant's."""
    messages: list[JsonObject] = []
    step: str | None = None
    for item in items:
        wire = item.wire
        role = wire.get("role", "assistant")
        if role != "assistant":
            texts = list(map(_given, wire["content"]))
            # Whoever writes the developer's part is the system here.
            shown = role if role == "user" else "system"
            messages.append({"id": wire["id"], "role": shown, "parts": texts})
            continue
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"id": _name(item), "role": "assistant", "parts": []})
            step = None
        parts: list[JsonObject] = messages[-1]["parts"]
        if wire["type"] == "function_call_output":
            if "call_id" in wire:
                _answer_call(parts, wire)
            continue
        if _name(item) != step:
            step = _name(item)
            parts.append({"type": "step-start"})
        parts.extend(_parts(wire))
    return messages


def _given(part: JsonObject) -> JsonObject:
    """What somebody said or showed."""
    match part["type"]:
        case "input_image":
            url: str = part["image_url"]
            media_type = url.removeprefix("data:").partition(";")[0]
            return {"type": "file", "mediaType": media_type, "url": url}
        case "input_file":
            return {
                "type": "text",
                "text": f"[{part.get('filename') or part.get('file_id') or UNNAMED}]",
            }
        case _:
            return {"type": "text", "text": part["text"]}


def _name(item: ReadItem) -> str:
    """What the stream called the message, where the item is of a response."""
    if item.response_id is None:
        return str(item.wire["id"])
    return render_id(RESPONSE_PREFIX, item.response_id)


def _parts(wire: JsonObject) -> list[JsonObject]:
    match wire["type"]:
        case "message":
            return _said(wire)
        case "reasoning":
            told = (*wire["summary"], *wire.get("content", ()))
            return [{"type": "reasoning", "text": part["text"], "state": "done"} for part in told]
        case "file_search_call":
            return [_search(wire)]
        case "function_call" if "call_id" in wire:
            given, _ = call_input(wire["arguments"])
            return [_tool(wire["name"], wire["call_id"], "input-available", given)]
        case "mcp_call" if "arguments" in wire:
            return [_remote(wire)]
        case _:
            return []


def _said(wire: JsonObject) -> list[JsonObject]:
    parts: list[JsonObject] = []
    count = 0
    for each in wire["content"]:
        parts.append({"type": "text", "text": each["text"], "state": "done"})
        for annotation in each.get("annotations", ()):
            if _is_citation(annotation):
                parts.append(source_of(annotation, f"{wire['id']}-{count}"))
                count += 1
    return parts


def _is_citation(annotation: JsonObject) -> bool:
    """Whether it is one of ours: what a client says that an assistant has cited is kept as it is."""
    is_whole = {"file_id", "index", "filename"} <= annotation.keys()
    is_ours = isinstance(annotation.get("undercroft", {}), dict)
    return annotation.get("type") == "file_citation" and is_whole and is_ours


def _remote(wire: JsonObject) -> JsonObject:
    given, _ = call_input(wire["arguments"])
    output = wire.get("output")
    came = {"errorText": failure_of(wire)} if output is None else {"output": output}
    state = "output-error" if output is None else "output-available"
    part = _tool(wire["name"], wire["id"], state, given, **came, toolName=wire["name"])
    return part | {"type": "dynamic-tool", "providerExecuted": True}


def _search(wire: JsonObject) -> JsonObject:
    asked = {"queries": wire["queries"]}
    if wire["status"] == "completed":
        output = {"results": None}
        return _tool(SEARCH_TOOL, wire["id"], "output-available", asked, output=output) | {
            "providerExecuted": True
        }
    words = "The search did not end."
    return _tool(SEARCH_TOOL, wire["id"], "output-error", asked, errorText=words) | {
        "providerExecuted": True
    }


def _tool(name: str, call_id: str, state: str, given: object, **fields: object) -> JsonObject:
    return {"type": f"tool-{name}", "toolCallId": call_id, "state": state, "input": given, **fields}


def _answer_call(parts: list[JsonObject], wire: JsonObject) -> None:
    """Put a result into the part of its call, the last one of that id."""
    for part in reversed(parts):
        if part.get("toolCallId") == wire["call_id"] and part["state"] == "input-available":
            part.update(state="output-available", output=_text(wire["output"]))
            return


def _text(output: Any) -> str:  # noqa: ANN401 - a text, or parts of one
    return output if isinstance(output, str) else "".join(part["text"] for part in output)
