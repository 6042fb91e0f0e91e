"""A response's events as chunks of the AI SDK's UI message stream. Pure.

A response is one message of the assistant's, called by the response's id. Our search and remote tools are tools that
the server runs; a function of the client's is a tool that the client runs; each citation is a source of its own.
"""

from collections.abc import Iterator
from typing import Any, Final

from undercroft.http.wire import JsonObject
from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.schemas.json_text import parse_json

SEARCH_TOOL: Final = "file_search"
_REMOTE: Final = {"providerExecuted": True, "dynamic": True}
"""Of a call of a remote tool, which no client knows by its type."""
OWN_NAMES: Final = {"input": "messages", "conversation": "id", "parent": "messageId"}
"""What a response's fields are called in what is sent to a chat."""
_ENDS: Final = {"max_output_tokens": "length", "content_filter": "content-filter"}


class ChunkWriter:
    """Renders one stream, event by event.

    Args:
        names_message: Whether the stream begins a message. False where it goes on with the one that the client shows.
    """

    def __init__(self, *, names_message: bool) -> None:
        self._names_message = names_message
        self._is_in_step = False
        self._calls: dict[str, str] = {}
        self._sources = 0

    def take(self, event: JsonObject) -> Iterator[JsonObject]:
        """The chunks that an event is."""
        match event["type"]:
            case "response.created":
                yield self._start(event["response"])
            case "response.in_progress":
                if self._is_in_step:
                    # What was said broke off, and is said anew.
                    yield {"type": "finish-step"}
                self._is_in_step = True
                yield {"type": "start-step"}
            case "error":
                yield from fail(event["error"])
            case "response.completed" | "response.incomplete" | "response.failed":
                yield from self._finish(event["response"])
            case "response.output_item.added" | "response.output_item.done":
                yield from self._item(event)
            case _:
                yield from self._piece(event)

    def _item(self, event: JsonObject) -> Iterator[JsonObject]:
        if event["type"] == "response.output_item.added":
            yield from self._begin_tool(event["item"])
        else:
            yield from _end_tool(event["item"])

    def _piece(self, event: JsonObject) -> Iterator[JsonObject]:
        match event["type"]:
            case "response.content_part.added" if event["part"]["type"] == "output_text":
                yield {"type": "text-start", "id": event["item_id"]}
            case "response.output_text.delta":
                yield {"type": "text-delta", "id": event["item_id"], "delta": event["delta"]}
            case "response.output_text.annotation.added":
                yield source_of(event["annotation"], f"{event['item_id']}-{self._sources}")
                self._sources += 1
            case "response.output_text.done":
                yield {"type": "text-end", "id": event["item_id"]}
            case "response.content_part.added" | "response.reasoning_summary_part.added":
                yield {"type": "reasoning-start", "id": event["item_id"]}
            case "response.reasoning.delta" | "response.reasoning_summary_text.delta":
                yield {"type": "reasoning-delta", "id": event["item_id"], "delta": event["delta"]}
            case "response.reasoning.done" | "response.reasoning_summary_text.done":
                yield {"type": "reasoning-end", "id": event["item_id"]}
            case "response.function_call_arguments.delta":
                call_id = self._calls[event["item_id"]]
                yield _tool("tool-input-delta", call_id, inputTextDelta=event["delta"])
            case _:
                pass

    def _start(self, response: JsonObject) -> JsonObject:
        metadata = {"response_id": response["id"], "model": response["model"]}
        named = {"messageId": response["id"]} if self._names_message else {}
        return {"type": "start", **named, "messageMetadata": metadata}

    def _begin_tool(self, item: JsonObject) -> Iterator[JsonObject]:
        if item["type"] == "file_search_call":
            yield _tool("tool-input-start", item["id"], toolName=SEARCH_TOOL, providerExecuted=True)
        elif item["type"] == "mcp_call":
            yield _tool("tool-input-start", item["id"], toolName=item["name"], **_REMOTE)
        elif item["type"] == "function_call":
            self._calls[item["id"]] = item["call_id"]
            yield _tool("tool-input-start", item["call_id"], toolName=item["name"])

    def _finish(self, response: JsonObject) -> Iterator[JsonObject]:
        if self._is_in_step:
            yield {"type": "finish-step"}
        if response["status"] == "cancelled":
            yield {"type": "abort", "reason": "cancelled"}
            return
        yield {
            "type": "finish",
            "finishReason": self._reason(response),
            "messageMetadata": {"usage": response["usage"]},
        }

    def _reason(self, response: JsonObject) -> str:
        if response["status"] == "failed":
            return "error"
        if response["incomplete_details"] is not None:
            return _ENDS.get(response["incomplete_details"]["reason"], "other")
        return "tool-calls" if self._calls else "stop"


def fail(error: JsonObject) -> Iterator[JsonObject]:
    """An error, for programs and for people: the SDK gives the text alone to whoever shows it."""
    known = {name: error.get(name) for name in ("type", "code", "param")}
    if known["param"] in OWN_NAMES:
        known["param"] = OWN_NAMES[known["param"]]
    yield {"type": "data-error", "data": known, "transient": True}
    yield {"type": "error", "errorText": error["message"]}


def source_of(annotation: JsonObject, source_id: str) -> JsonObject:
    """A citation as a part of a message: which document, and in ``providerMetadata`` what was cited and where."""
    cited = {name: annotation[name] for name in ("file_id", "index")}
    return {
        "type": "source-document",
        "sourceId": source_id,
        # Of the passage, which is text whatever the document is.
        "mediaType": "text/plain",
        "title": annotation["filename"],
        "filename": annotation["filename"],
        "providerMetadata": {"undercroft": {**cited, **annotation.get("undercroft", {})}},
    }


def call_input(arguments: str) -> tuple[Any, bool]:
    """The arguments of a call as the model's JSON says them, and whether they are any."""
    try:
        return parse_json(arguments or "{}"), True
    except InvalidRequestError:
        return arguments, False


def failure_of(call: JsonObject) -> str:
    """Why a remote tool's call came to nothing, in words."""
    match call.get("error"):
        case {"message": str(words)} | {"content": [{"text": str(words)}, *_]}:
            return words
        case _:
            return "The call did not end."


def _end_tool(item: JsonObject) -> Iterator[JsonObject]:
    # Lists of tools and requests for an approval have none, and are no parts of a message.
    is_whole = item.get("status") == "completed"
    if item["type"] == "file_search_call":
        yield from _end_search(item, is_whole=is_whole)
    elif item["type"] == "mcp_call":
        yield from _end_remote(item, is_whole=is_whole)
    elif item["type"] == "function_call":
        given, is_json = call_input(item["arguments"])
        named = {"toolName": item["name"], "input": given}
        if is_whole and is_json:
            yield _tool("tool-input-available", item["call_id"], **named)
        else:
            words = "The call is not whole." if is_json else "The call's arguments are no JSON."
            yield _tool("tool-input-error", item["call_id"], **named, errorText=words)


def _end_search(item: JsonObject, *, is_whole: bool) -> Iterator[JsonObject]:
    named = {"toolName": SEARCH_TOOL, "input": {"queries": item["queries"]}}
    yield _tool("tool-input-available", item["id"], **named, providerExecuted=True)
    if is_whole:
        output = {"results": item["results"]}
        yield _tool("tool-output-available", item["id"], output=output, providerExecuted=True)
    else:
        words = "The search did not end."
        yield _tool("tool-output-error", item["id"], errorText=words, providerExecuted=True)


def _end_remote(item: JsonObject, *, is_whole: bool) -> Iterator[JsonObject]:
    given, _ = call_input(item["arguments"])
    yield _tool("tool-input-available", item["id"], toolName=item["name"], input=given, **_REMOTE)
    if is_whole:
        yield _tool("tool-output-available", item["id"], output=item["output"], **_REMOTE)
    else:
        yield _tool("tool-output-error", item["id"], errorText=failure_of(item), **_REMOTE)


def _tool(kind: str, call_id: str, **fields: object) -> JsonObject:
    return {"type": kind, "toolCallId": call_id, **fields}
