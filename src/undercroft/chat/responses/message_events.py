"""What a response tells of its text: messages, their one part, and the citations in it."""

from collections.abc import Iterator, Sequence

from undercroft.chat.responses.item_events import ItemEvents
from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.wire_copies import copied
from undercroft.chat.shown import NOTHING, Shown
from undercroft.kit.ids import IdSource, render_id


class MessageEvents:
    """Makes the events of one response's messages, of which one is open at a time. Each method yields the next ones.

    Args:
        items: Makes them.
        ids: For its items.
    """

    def __init__(self, items: ItemEvents, ids: IdSource) -> None:
        self._items = items
        self._ids = ids
        self._message: WireObject | None = None
        self._text: list[str] = []

    @property
    def has_begun(self) -> bool:
        """Whether there is one."""
        return self._message is not None

    @property
    def shown(self) -> Shown:
        """What was said in it."""
        if self._message is None or not self._message["content"]:
            return NOTHING
        return Shown("".join(self._text), len(self._part()["annotations"]))

    def add_text(self, delta: str, logprobs: Sequence[WireObject]) -> Iterator[WireObject]:
        """The next piece of its text."""
        if self._message is None or not self._message["content"]:
            yield from self._begin()
        self._text.append(delta)
        self._part()["logprobs"] += logprobs
        yield self._tell("output_text.delta", delta=delta, logprobs=list(logprobs))

    def annotate(self, annotation: WireObject) -> Iterator[WireObject]:
        """A citation of a sentence that was told."""
        annotations = self._part()["annotations"]
        yield self._text_event(
            "annotation.added", annotation_index=len(annotations), annotation=annotation
        )
        annotations.append(annotation)

    def finish(self, status: str) -> Iterator[WireObject]:
        """No more of it comes."""
        if self._message is None:
            return
        self._message["status"] = status
        # Whoever began it may have died before its text was begun.
        if self._message["content"]:
            text = self._part()["text"] = "".join(self._text)
            yield self._text_event("done", text=text, logprobs=list(self._part()["logprobs"]))
            yield self._part_event("done")
        yield self._items.finish(self._message)

    def leave(self) -> None:
        """What is said next is another message."""
        self._message, self._text = None, []

    def retrace_added(self, item: WireObject) -> None:
        """Another process has begun one."""
        self._message = item

    def retrace(self, event: WireObject) -> None:
        """Another process has told more of it."""
        match event["type"]:
            case "response.content_part.added":
                self._open()["content"].append(copied(event["part"]))
            case "response.output_text.delta":
                self._text.append(event["delta"])
                self._part()["logprobs"] += event["logprobs"]
            case "response.output_text.annotation.added":
                self._part()["annotations"].append(event["annotation"])
            case _:
                pass

    def _begin(self) -> Iterator[WireObject]:
        """What is there of it already another process has begun."""
        if self._message is None:
            self._message = {
                "type": "message",
                "id": render_id("msg_", self._ids.new()),
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            yield self._items.add(self._message)
        if not self._message["content"]:
            self._message["content"].append(
                {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            )
            yield self._part_event("added")

    def _open(self) -> WireObject:
        if self._message is None:
            raise RuntimeError("no message yet")
        return self._message

    def _part(self) -> WireObject:
        part: WireObject = self._open()["content"][0]
        return part

    def _part_event(self, name: str) -> WireObject:
        return self._tell(f"content_part.{name}", part=copied(self._part()))

    def _text_event(self, name: str, **fields: object) -> WireObject:
        return self._tell(f"output_text.{name}", **fields)

    def _tell(self, name: str, **fields: object) -> WireObject:
        return self._items.tell(name, self._open(), content_index=0, **fields)
