"""The chunks of one chat completion, and the completion that they add up to."""

from collections.abc import Sequence
from typing import Any, Final

from undercroft.chat.answering import AnswerEvent
from undercroft.chat.calling import Answered
from undercroft.chat.citations import Citation
from undercroft.chat.found import FilesRead, Searched
from undercroft.chat.providers.protocol import (
    Passage,
    ReasoningDelta,
    ReasoningEnded,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.responses.rendering import render_citation, render_logprob
from undercroft.chat.tools.models import (
    ApprovalAsked,
    CallBegun,
    CallEnded,
    ToolsListed,
    ToolsWanted,
)
from undercroft.http.wire import JsonObject

_CHUNK: Final = "chat.completion.chunk"


class _Choice:
    """One answer."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._passages: dict[int, Passage] = {}
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._annotations: list[JsonObject] = []
        self._calls: list[tuple[ToolCall, list[str]]] = []
        self._logprobs: list[JsonObject] = []
        self._finish_reason: str | None = None
        self.usage: Usage | None = None

    def begin(self) -> JsonObject:
        return self._delta({"role": "assistant", "content": ""})

    def take(self, event: AnswerEvent) -> JsonObject | None:
        """Add an event; what a chunk says of it, if it shows."""
        match event:
            case TextDelta(text, logprobs):
                tokens = [render_logprob(token) for token in logprobs]
                return self.say(text, tokens)
            case ReasoningDelta(text):
                self._thoughts.append(text)
                return self._delta({"reasoning_content": text})
            case Searched():
                self._passages = {passage.number: passage for passage in event.passages}
            case Citation():
                return self.annotate(render_citation(event, self._passages[event.number]))
            case ToolCallDelta():
                return self._delta({"tool_calls": [self._call(event)]})
            case Answered(reason, usage):
                self._finish_reason, self.usage = reason.value, usage
                return self._delta({}, finish_reason=reason.value)
            case FilesRead() | ReasoningEnded() | ToolsWanted() | ToolsListed() | ApprovalAsked():
                pass
            case CallBegun() | CallEnded():
                # Of remote tools, which chat completions have none of.
                pass
        return None

    def say(self, text: str, logprobs: Sequence[JsonObject]) -> JsonObject:
        self._text.append(text)
        self._logprobs += logprobs
        return self._delta({"content": text}, logprobs)

    def annotate(self, annotation: JsonObject) -> JsonObject:
        self._annotations.append(annotation)
        return self._delta({"annotations": [annotation]})

    def whole(self) -> JsonObject:
        text = "".join(self._text)
        message: JsonObject = {
            "role": "assistant",
            "content": text if text or not self._calls else None,
            "refusal": None,
            "annotations": self._annotations,
        }
        if self._thoughts:
            message["reasoning_content"] = "".join(self._thoughts)
        if self._calls:
            message["tool_calls"] = [
                _function_call(call.id, call.name, "".join(arguments))
                for call, arguments in self._calls
            ]
        return {
            "index": self._index,
            "message": message,
            "logprobs": _logprobs(self._logprobs),
            "finish_reason": self._finish_reason,
        }

    def _call(self, event: ToolCallDelta) -> JsonObject:
        if event.id is not None and event.name is not None:
            self._calls.append((ToolCall(event.id, event.name, ""), [event.arguments]))
            return {
                "index": event.index,
                **_function_call(event.id, event.name, event.arguments),
            }
        self._calls[event.index][1].append(event.arguments)
        return {"index": event.index, "function": {"arguments": event.arguments}}

    def _delta(
        self,
        delta: JsonObject,
        logprobs: Sequence[JsonObject] = (),
        finish_reason: str | None = None,
    ) -> JsonObject:
        return {
            "index": self._index,
            "delta": delta,
            "logprobs": _logprobs(logprobs),
            "finish_reason": finish_reason,
        }


class Completion:
    """One completion, of one answer or several.

    Args:
        completion_id: Its id.
        created: Unix seconds.
        model: Who answers.
        choices: How many answers there are.
        include_usage: Whether the chunks say what it took: null each, and the last one all.
    """

    def __init__(
        self, completion_id: str, created: int, model: str, choices: int, *, include_usage: bool
    ) -> None:
        self._head = {"id": completion_id, "created": created, "model": model}
        self._choices = [_Choice(index) for index in range(choices)]
        self._usage: JsonObject = {"usage": None} if include_usage else {}

    def begin(self) -> list[JsonObject]:
        """The first chunk of each answer."""
        return [self._chunk(choice.begin()) for choice in self._choices]

    def take(self, index: int, event: AnswerEvent) -> JsonObject | None:
        """Add an event of an answer; its chunk, if it shows."""
        shown = self._choices[index].take(event)
        return None if shown is None else self._chunk(shown)

    def say(self, index: int, text: str, logprobs: Sequence[JsonObject]) -> JsonObject:
        """Add a piece of an answer's text; its chunk."""
        return self._chunk(self._choices[index].say(text, logprobs))

    def annotate(self, index: int, annotation: JsonObject) -> JsonObject:
        """Add a citation to an answer; its chunk."""
        return self._chunk(self._choices[index].annotate(annotation))

    @property
    def is_whole(self) -> bool:
        """Whether all answers have come to their ends."""
        return all(choice.usage is not None for choice in self._choices)

    def end(self) -> list[JsonObject]:
        """The chunk that says what it took, where it was asked for."""
        if not self._usage:
            return []
        return [{**self._head, "object": _CHUNK, "choices": [], "usage": self._total()}]

    def whole(self) -> JsonObject:
        """All of it."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice.whole() for choice in self._choices],
            "usage": self._total(),
        }

    def _chunk(self, choice: JsonObject) -> JsonObject:
        return {**self._head, "object": _CHUNK, "choices": [choice], **self._usage}

    def _total(self) -> dict[str, Any]:
        """Of all answers: each is a generation of its own, with the prompt read anew."""
        usages = [choice.usage for choice in self._choices if choice.usage is not None]
        prompt = sum(usage.input_tokens for usage in usages)
        answers = sum(usage.output_tokens for usage in usages)
        cached = sum(usage.cached_tokens for usage in usages)
        thoughts = sum(usage.reasoning_tokens for usage in usages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answers,
            "total_tokens": prompt + answers,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thoughts},
        }


def _function_call(call_id: str, name: str, arguments: str) -> JsonObject:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _logprobs(tokens: Sequence[JsonObject]) -> JsonObject | None:
    return {"content": list(tokens), "refusal": None} if tokens else None
