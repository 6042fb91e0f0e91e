"""What a response tells of calls of the client's functions: items and events as the specification has them."""

from collections.abc import Iterator

from undercroft.chat.providers.protocol import ToolCallDelta
from undercroft.chat.responses.item_events import ItemEvents
from undercroft.chat.responses.models import WireObject
from undercroft.kit.ids import IdSource, render_id


class CallEvents:
    """Makes the events of one response's calls, which are open until the answer ends.

    Args:
        items: Makes them.
        ids: For its items.
    """

    def __init__(self, items: ItemEvents, ids: IdSource) -> None:
        self._items = items
        self._ids = ids
        self._calls: list[tuple[WireObject, list[str]]] = []

    @property
    def has_begun(self) -> bool:
        """Whether there is any."""
        return bool(self._calls)

    def add(self, delta: ToolCallDelta) -> Iterator[WireObject]:
        """The next piece of a call."""
        if delta.index == len(self._calls):
            call: WireObject = {
                "type": "function_call",
                "id": render_id("fc_", self._ids.new()),
                "call_id": delta.id,
                "name": delta.name,
                "arguments": "",
                "status": "in_progress",
            }
            self._calls.append((call, []))
            yield self._items.add(call)
        call, arguments = self._calls[delta.index]
        if delta.arguments:
            arguments.append(delta.arguments)
            yield self._tell("delta", call, delta=delta.arguments)

    def finish(self, status: str) -> Iterator[WireObject]:
        """No more of any comes."""
        for call, arguments in self._calls:
            call["arguments"] = "".join(arguments)
            call["status"] = status
            yield self._tell("done", call, arguments=call["arguments"])
            yield self._items.finish(call)

    def retrace_added(self, item: WireObject) -> None:
        """Another process has begun a call."""
        self._calls.append((item, []))

    def retrace(self, item: WireObject, delta: str) -> None:
        """Another process has told more of that call."""
        next(parts for call, parts in self._calls if call is item).append(delta)

    def _tell(self, name: str, call: WireObject, **fields: object) -> WireObject:
        return self._items.tell(f"function_call_arguments.{name}", call, **fields)
