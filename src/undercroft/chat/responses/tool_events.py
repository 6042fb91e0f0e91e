"""What a response tells of remote tools: items and events as OpenAI has them."""

from collections.abc import Iterator
from typing import Any, Final

from undercroft.chat.responses.item_events import ItemEvents
from undercroft.chat.responses.models import WireObject
from undercroft.chat.tools.models import (
    ApprovalAsked,
    CallBegun,
    CallEnded,
    Outcome,
    RemoteCall,
    RemoteTool,
    ToolEvent,
    ToolsListed,
    ToolsWanted,
)
from undercroft.kit.ids import IdSource, render_id

LIST_PREFIX: Final = "mcpl_"
CALL_PREFIX: Final = "mcp_"
REQUEST_PREFIX: Final = "mcpr_"

_UNKNOWN: Final = "It broke off: it is not known whether the call did what it was to do."
_PROTOCOL_ERROR: Final = -32000
"""JSON-RPC's code for what a server, or whoever asks it, has no code for."""


class ToolEvents:
    """Makes the events of one response's lists and calls. Each method yields the next ones.

    Args:
        items: Makes them.
        ids: For its items.
    """

    def __init__(self, items: ItemEvents, ids: IdSource) -> None:
        self._items = items
        self._ids = ids
        self._lists: dict[str, WireObject] = {}
        self._listed: set[str] = set()
        self._call: WireObject | None = None
        self.has_acted = False
        """Whether a call was begun, or somebody was asked to approve one."""

    def tell(self, step: ToolEvent) -> Iterator[WireObject]:
        """What happens with tools."""
        match step:
            case ToolsWanted(label):
                yield from self._begin_list(label)
            case ToolsListed():
                yield from self._tell_list(step)
            case ApprovalAsked(call):
                yield from self._ask(call)
            case CallBegun(call):
                yield from self._begin_call(call)
            case CallEnded(outcome):
                yield from self._end_call(outcome)

    def stop(self) -> Iterator[WireObject]:
        """What has begun and not ended does not go on."""
        for label, item in self._lists.items():
            if label not in self._listed:
                yield from self._end_list(item, "The answer ended before it did.")
        if self._call is not None:
            item, self._call = self._call, None
            item["status"] = "incomplete"
            item["error"] = render_error(Outcome(error=_UNKNOWN))
            yield self._items.tell("mcp_call.failed", item)
            yield self._items.finish(item)

    def retrace_added(self, item: WireObject) -> None:
        """Another process has begun an item."""
        if item["type"] == "mcp_list_tools":
            self._lists[item["server_label"]] = item
            return
        self.has_acted = True
        if item["type"] == "mcp_call":
            self._call = item

    def retrace(self, event: WireObject) -> None:
        """Another process has told something else."""
        if event["type"] == "response.mcp_call_arguments.done" and self._call is not None:
            self._call["arguments"] = event["arguments"]

    def retrace_done(self, item: WireObject) -> None:
        """Another process has ended an item."""
        if item["type"] == "mcp_list_tools":
            self._listed.add(item["server_label"])
        elif item["type"] == "mcp_call":
            self._call = None

    def _begin_list(self, label: str) -> Iterator[WireObject]:
        """A server is asked. What another process has told of that is not told again."""
        if label in self._lists:
            return
        item = self._lists[label] = {
            "type": "mcp_list_tools",
            "id": render_id(LIST_PREFIX, self._ids.new()),
            "server_label": label,
            "tools": [],
            "error": None,
        }
        yield self._items.add(item)
        yield self._items.tell("mcp_list_tools.in_progress", item)

    def _tell_list(self, listed: ToolsListed) -> Iterator[WireObject]:
        """A server has answered, or will not."""
        if listed.server_label in self._listed:
            return
        item = self._lists[listed.server_label]
        item["tools"] = list(map(_render_tool, listed.tools))
        yield from self._end_list(item, listed.error)

    def _ask(self, call: RemoteCall) -> Iterator[WireObject]:
        """Somebody has to approve a call."""
        self.has_acted = True
        item: WireObject = {
            "type": "mcp_approval_request",
            "id": render_id(REQUEST_PREFIX, self._ids.new()),
            "server_label": call.server_label,
            "name": call.tool,
            "arguments": call.arguments,
        }
        yield self._items.add(item)
        yield self._items.finish(item)

    def _begin_call(self, call: RemoteCall) -> Iterator[WireObject]:
        """A call is about to be made."""
        self.has_acted = True
        item = self._call = {
            "type": "mcp_call",
            "id": render_id(CALL_PREFIX, self._ids.new()),
            "approval_request_id": call.approval_id,
            "server_label": call.server_label,
            "name": call.tool,
            "arguments": "",
            "output": None,
            "error": None,
            "status": "in_progress",
        }
        yield self._items.add(item)
        yield self._items.tell("mcp_call.in_progress", item)
        item["arguments"] = call.arguments
        yield self._items.tell("mcp_call_arguments.delta", item, delta=call.arguments)
        yield self._items.tell("mcp_call_arguments.done", item, arguments=call.arguments)

    def _end_call(self, outcome: Outcome) -> Iterator[WireObject]:
        """The call has come to something."""
        if self._call is None:
            raise RuntimeError("a call ended before it began")
        item, self._call = self._call, None
        has_failed = outcome.output is None
        item["status"] = "failed" if has_failed else "completed"
        item["output"] = outcome.output
        item["error"] = render_error(outcome) if has_failed else None
        yield self._items.tell(f"mcp_call.{item['status']}", item)
        yield self._items.finish(item)

    def _end_list(self, item: WireObject, error: str | None) -> Iterator[WireObject]:
        self._listed.add(item["server_label"])
        item["error"] = error
        status = "completed" if error is None else "failed"
        yield self._items.tell(f"mcp_list_tools.{status}", item)
        yield self._items.finish(item)


def render_error(outcome: Outcome) -> WireObject:
    """Why a call came to nothing."""
    if outcome.is_tools:
        content = [{"type": "text", "text": outcome.error}]
        return {"type": "mcp_tool_execution_error", "content": content}
    return {"type": "mcp_protocol_error", "code": _PROTOCOL_ERROR, "message": outcome.error}


def _render_tool(tool: RemoteTool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": dict(tool.input_schema),
        "annotations": None if tool.annotations is None else dict(tool.annotations),
    }
