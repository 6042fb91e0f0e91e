"""The events of one response, numbered from 0, and the resource that they build up.

The order is the specification's; ``file_search_call`` items and ``file_citation`` annotations are OpenAI's, with what
only we know (spans, page, headings, the verified quote) under the key ``undercroft``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from undercroft.chat.citations import Citation
from undercroft.chat.found import Searched
from undercroft.chat.providers.protocol import (
    FinishReason,
    Passage,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.responses.call_events import CallEvents
from undercroft.chat.responses.carried import all_without_sealed, without_sealed
from undercroft.chat.responses.message_events import MessageEvents
from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.reasoning_events import ReasoningEvents
from undercroft.chat.responses.rendering import render_citation, render_result, render_usage
from undercroft.chat.responses.tool_events import ToolEvents
from undercroft.chat.responses.wire_copies import copied
from undercroft.chat.shown import Shown
from undercroft.chat.tools.models import ApprovalAsked, CallBegun, ToolEvent
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import IdSource, render_id

INCOMPLETE_REASONS: Final = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
}
"""What a response says of an answer that is not whole."""

TERMINAL_EVENTS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""What the last event of a response is."""

MOST_ATTEMPTS: Final = 4
"""How often an answer is begun that may begin again: who asks for that is not to pay for it without end."""


class ResponseEvents:
    """Makes the events of one response. Each method yields the next ones.

    Attributes:
        response_id: The response.
        resource: The response so far.
        failure: Why it failed, once it has.

    Args:
        response_id: The new response.
        created_at: Its creation.
        echo: Fields that repeat the request.
        ids: For its items.
        include_results: Whether the search call shows what it found.
        include_sealed: Whether thoughts are shown as their model wants them back, sealed.
    """

    def __init__(
        self,
        response_id: UUID,
        created_at: datetime,
        echo: Mapping[str, Any],
        ids: IdSource,
        *,
        include_results: bool = False,
        include_sealed: bool = False,
    ) -> None:
        self.response_id = response_id
        self.failure: Exception | None = None
        self._ids = ids
        self._include_results = include_results
        self._include_sealed = include_sealed
        self._sequence = 0
        self._made: set[str] = set()
        self._broken_off = 0
        self._is_search_done = False
        self._passages: dict[int, Passage] = {}
        self._search: WireObject | None = None
        self._message = MessageEvents(self, ids)
        self._tools = ToolEvents(self, ids)
        self._reasoning = ReasoningEvents(self, ids)
        self._calls = CallEvents(self, ids)
        self.resource: WireObject = {
            "id": render_id(RESPONSE_PREFIX, response_id),
            "object": "response",
            "created_at": int(created_at.timestamp()),
            "completed_at": None,
            "status": "in_progress",
            "incomplete_details": None,
            "error": None,
            "output": [],
            "usage": None,
            **echo,
        }

    @property
    def has_output(self) -> bool:
        """Whether something was shown that another attempt might not say again."""
        shows_results = self._include_results and self._is_search_done
        has_acted = self._tools.has_acted or self._reasoning.has_begun or self._broken_off > 0
        return self._message.has_begun or self._calls.has_begun or has_acted or shows_results

    @property
    def broken_off(self) -> int:
        """How many attempts at the answer broke off, after which it began again."""
        return self._broken_off

    @property
    def shown(self) -> Shown:
        """What was said of the answer."""
        return self._message.shown

    @property
    def can_go_on(self) -> bool:
        """Whether what was shown is text alone, or what was found or listed.

        Calls are not continued or repeated, nor are thoughts: what follows from them only who had them knows.
        """
        return (
            not self._calls.has_begun
            and not self._tools.has_acted
            and not self._reasoning.has_begun
        )

    @property
    def is_silent(self) -> bool:
        """Whether the attempt that is under way has said nothing yet, and no tool elsewhere was called."""
        return self.can_go_on and not self._message.has_begun

    @property
    def can_begin_again(self) -> bool:
        """Whether what was said may be said anew, by items of its own.

        Not once a tool elsewhere was called, and not for ever. What has said nothing fails, as it would at first.
        """
        has_said = self._message.has_begun or self._calls.has_begun or self._reasoning.has_begun
        return has_said and not self._tools.has_acted and self._broken_off < MOST_ATTEMPTS - 1

    def resume(self, kept: Iterable[WireObject]) -> None:
        """Go on after events that another process made. What is made anew of them is left out."""
        for event in kept:
            self._retrace(event)
            self._made.add(event["type"])
            self._sequence = event["sequence_number"] + 1

    def queue(self) -> Iterator[WireObject]:
        """The response exists, and waits for those before it."""
        self.resource["status"] = "queued"
        for name in ("response.created", "response.queued"):
            if name not in self._made:
                self._made.add(name)
                yield self._event(name, response=self._snapshot())

    def begin(self) -> Iterator[WireObject]:
        """The response exists, and work on it starts."""
        self.resource["status"] = "in_progress"
        for name in ("response.created", "response.in_progress"):
            if name not in self._made:
                yield self._event(name, response=self._snapshot())

    def begin_again(self) -> Iterator[WireObject]:
        """What was said breaks off and stays; what is said next is said by items of its own."""
        yield from self._reasoning.stop()
        yield from self._message.finish("incomplete")
        yield from self._calls.finish("incomplete")
        self._leave_attempt()
        yield self._event("response.in_progress", response=self._snapshot())

    def start_search(self) -> Iterator[WireObject]:
        """The documents are being searched."""
        if self._search is None:
            self._search = {
                "type": "file_search_call",
                "id": render_id("fs_", self._ids.new()),
                "status": "in_progress",
                "queries": [],
                "results": None,
            }
            yield self.add(self._search)
        for status in ("in_progress", "searching"):
            if f"response.file_search_call.{status}" not in self._made:
                yield self.tell(f"file_search_call.{status}", self._search)
        self._search["status"] = "searching"

    def finish_search(self, searched: Searched) -> Iterator[WireObject]:
        """The documents were searched."""
        if self._search is None:
            raise RuntimeError("finish_search before start_search")
        self._passages = {passage.number: passage for passage in searched.passages}
        self._search["status"] = "completed"
        self._search["queries"] = [searched.query]
        if self._include_results:
            self._search["results"] = [render_result(passage) for passage in searched.found]
        if self._is_search_done:
            return
        if "response.file_search_call.completed" not in self._made:
            yield self.tell("file_search_call.completed", self._search)
        self._is_search_done = True
        yield self.finish(self._search)

    def add_text(self, delta: str, logprobs: Sequence[WireObject] = ()) -> Iterator[WireObject]:
        """The next piece of the answer."""
        return self._message.add_text(delta, logprobs)

    def cite(self, citation: Citation) -> Iterator[WireObject]:
        """A verified citation of a sentence that was sent."""
        annotation = render_citation(citation, self._passages[citation.number])
        yield from self._message.annotate(annotation)

    def add_call(self, delta: ToolCallDelta) -> Iterator[WireObject]:
        """The next piece of a call of one of the client's functions. It is open until the answer ends."""
        yield from self._calls.add(delta)

    def think(self, delta: ReasoningDelta) -> Iterator[WireObject]:
        """The next piece of what the model thinks."""
        yield from self._reasoning.think(delta)

    def end_thought(self, sealed: str | None) -> Iterator[WireObject]:
        """A thought is whole; sealed for its model, where it is kept."""
        yield from self._reasoning.end(sealed)

    def tell_tools(self, step: ToolEvent) -> Iterator[WireObject]:
        """What happens with remote tools. What is said after a call is a message of its own."""
        if isinstance(step, (ApprovalAsked, CallBegun)):
            yield from self._message.finish("completed")
            self._message.leave()
        yield from self._tools.tell(step)

    def complete(
        self, reason: FinishReason, usage: Usage, completed_at: datetime
    ) -> Iterator[WireObject]:
        """The answer is whole, or as long as it may be."""
        incomplete = INCOMPLETE_REASONS.get(reason)
        status = "completed" if incomplete is None else "incomplete"
        yield from self._reasoning.stop()
        yield from self._message.finish(status)
        yield from self._calls.finish(status)
        self.resource["status"] = status
        self.resource["usage"] = render_usage(usage)
        if incomplete is None:
            self.resource["completed_at"] = int(completed_at.timestamp())
        else:
            self.resource["incomplete_details"] = {"reason": incomplete}
        yield self._event(f"response.{status}", response=self._snapshot())

    def fail(self, error: UndercroftError) -> Iterator[WireObject]:
        """The response ends with an error; what was sent of it stays."""
        yield from self._stop("failed")
        code = error.code or error.kind.value
        told = {"code": code, "message": error.message, "param": error.param}
        yield self._event("error", error={"type": error.kind.value, **told}, **told)
        self.failure = error
        self.resource["status"] = "failed"
        self.resource["error"] = {"code": code, "message": error.message}
        yield self._event("response.failed", response=self._snapshot())

    def cancel(self) -> Iterator[WireObject]:
        """Somebody wanted it to end, or nobody waits for it any more; what was made is kept."""
        yield from self._stop("incomplete")
        self.resource["status"] = "cancelled"
        yield self._event("response.incomplete", response=self._snapshot())

    def abandon(self, cause: Exception) -> Iterator[WireObject]:
        """Something unforeseen went wrong: the response ends with an error that does not name the cause."""
        yield from self.fail(
            UndercroftError(
                "The service failed while it made this; try again.", kind=ErrorKind.INTERNAL
            )
        )
        self.failure = cause

    def _leave_attempt(self) -> None:
        self._broken_off += 1
        for item in self.resource["output"]:
            # What follows from a thought was not said: it goes back to nobody.
            item.pop("encrypted_content", None)
        self._message = MessageEvents(self, self._ids)
        self._reasoning = ReasoningEvents(self, self._ids)
        self._calls = CallEvents(self, self._ids)

    def _stop(self, search: str) -> Iterator[WireObject]:
        """What has begun and not ended does not go on."""
        yield from self._stop_search(search)
        yield from self._tools.stop()
        yield from self._reasoning.stop()
        yield from self._message.finish("incomplete")
        yield from self._calls.finish("incomplete")

    def _stop_search(self, status: str) -> Iterator[WireObject]:
        """A search that has begun and not ended does not go on."""
        if self._search is not None and not self._is_search_done:
            self._search["status"] = status
            self._is_search_done = True
            yield self.finish(self._search)

    def _retrace(self, event: WireObject) -> None:
        match event["type"]:
            case "response.created":
                self.resource = copied(event["response"])
            case "response.in_progress" if event["type"] in self._made:
                self._leave_attempt()
            case "response.output_item.added":
                self._retrace_added(copied(event["item"]))
            case "response.output_item.done":
                item = self.resource["output"][event["output_index"]]
                item.update(copied(event["item"]))
                self._retrace_done(item)
            case "response.content_part.added" if event["part"]["type"] == "output_text":
                self._message.retrace(event)
            case "response.output_text.delta" | "response.output_text.annotation.added":
                self._message.retrace(event)
            case "response.function_call_arguments.delta":
                call = self.resource["output"][event["output_index"]]
                self._calls.retrace(call, event["delta"])
            case _:
                self._reasoning.retrace(event)
                self._tools.retrace(event)

    def _retrace_added(self, item: WireObject) -> None:
        self.resource["output"].append(item)
        match item["type"]:
            case "message":
                self._message.retrace_added(item)
            case "function_call":
                self._calls.retrace_added(item)
            case "file_search_call":
                self._search = item
            case "reasoning":
                self._reasoning.retrace_added(item)
            case _:
                self._tools.retrace_added(item)

    def _retrace_done(self, item: WireObject) -> None:
        match item["type"]:
            case "message":
                self._message.leave()
            case "file_search_call":
                self._is_search_done = True
            case "reasoning":
                self._reasoning.retrace_done()
            case _:
                self._tools.retrace_done(item)

    def add(self, item: WireObject) -> WireObject:
        """A new item of the output."""
        self.resource["output"].append(item)
        return self._item_event("added", item)

    def finish(self, item: WireObject) -> WireObject:
        """An item of the output is whole."""
        return self._item_event("done", item)

    def _item_event(self, name: str, item: WireObject) -> WireObject:
        shown = item if self._include_sealed else without_sealed(item)
        return self._event(
            f"response.output_item.{name}", output_index=self._index(item), item=copied(shown)
        )

    def tell(self, name: str, item: WireObject, **fields: object) -> WireObject:
        """Something about an item of the output."""
        index = self._index(item)
        return self._event(f"response.{name}", item_id=item["id"], output_index=index, **fields)

    def _index(self, item: WireObject) -> int:
        output = self.resource["output"]
        # What is told of is nearly always the newest.
        if output[-1] is item:
            return len(output) - 1
        return next(index for index, other in enumerate(output) if other is item)

    def _event(self, name: str, **fields: object) -> WireObject:
        event: WireObject = {"type": name, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event

    def _snapshot(self) -> WireObject:
        shown = self.resource if self._include_sealed else all_without_sealed(self.resource)
        return copied(shown)
