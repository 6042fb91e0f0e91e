"""What a response tells of its model's thoughts: items and events as the specification has them."""

from collections.abc import Iterator
from typing import Final

from undercroft.chat.providers.protocol import ReasoningDelta
from undercroft.chat.responses.item_events import ItemEvents
from undercroft.chat.responses.models import WireObject
from undercroft.kit.ids import IdSource, render_id

REASONING_PREFIX: Final = "rs_"


class ReasoningEvents:
    """Makes the events of one response's thoughts. Each method yields the next ones.

    A thought is an item with at most one part: of its content where the model's server tells that, or of its summary.

    Args:
        items: Makes them.
        ids: For its items.
    """

    def __init__(self, items: ItemEvents, ids: IdSource) -> None:
        self._items = items
        self._ids = ids
        self._item: WireObject | None = None
        self._text: list[str] = []
        self.has_begun = False
        """Whether anything was told."""

    def think(self, delta: ReasoningDelta) -> Iterator[WireObject]:
        """The next piece of a thought."""
        yield from self._begin()
        item = self._open()
        place = "summary" if delta.is_summary else "content"
        if not item[place]:
            kind = "summary_text" if delta.is_summary else "reasoning_text"
            item[place].append({"type": kind, "text": ""})
            yield self._part_event("added", item)
        self._text.append(delta.text)
        yield self._text_event("delta", item, delta=delta.text)

    def end(self, sealed: str | None) -> Iterator[WireObject]:
        """A thought is whole.

        Args:
            sealed: It, as only the response's key opens it; None where nothing is kept of it.
        """
        yield from self._begin()
        if sealed is not None:
            self._open()["encrypted_content"] = sealed
        yield from self.stop()

    def stop(self) -> Iterator[WireObject]:
        """A thought that has begun does not go on."""
        if self._item is None:
            return
        item, text = self._item, "".join(self._text)
        self._item, self._text = None, []
        for part in (*item["summary"], *item["content"]):
            part["text"] = text
            yield self._text_event("done", item, text=text)
            yield self._part_event("done", item)
        yield self._items.finish(item)

    def retrace_added(self, item: WireObject) -> None:
        """Another process has begun a thought."""
        self._item = item
        self.has_begun = True

    def retrace(self, event: WireObject) -> None:
        """Another process has told more of it."""
        match event["type"]:
            case "response.reasoning_summary_part.added":
                self._open()["summary"].append(dict(event["part"]))
            case "response.content_part.added":
                self._open()["content"].append(dict(event["part"]))
            case "response.reasoning.delta" | "response.reasoning_summary_text.delta":
                self._text.append(event["delta"])
            case _:
                pass

    def retrace_done(self) -> None:
        """Another process has ended it."""
        self._item, self._text = None, []

    def _begin(self) -> Iterator[WireObject]:
        if self._item is None:
            self.has_begun = True
            self._item = {
                "type": "reasoning",
                "id": render_id(REASONING_PREFIX, self._ids.new()),
                "summary": [],
                "content": [],
            }
            yield self._items.add(self._item)

    def _open(self) -> WireObject:
        if self._item is None:
            raise RuntimeError("no thought yet")
        return self._item

    def _part_event(self, name: str, item: WireObject) -> WireObject:
        if item["summary"]:
            part = dict(item["summary"][0])
            return self._items.tell(
                f"reasoning_summary_part.{name}", item, summary_index=0, part=part
            )
        part = dict(item["content"][0])
        return self._items.tell(f"content_part.{name}", item, content_index=0, part=part)

    def _text_event(self, name: str, item: WireObject, **fields: object) -> WireObject:
        if item["summary"]:
            return self._items.tell(
                f"reasoning_summary_text.{name}", item, summary_index=0, **fields
            )
        return self._items.tell(f"reasoning.{name}", item, content_index=0, **fields)
