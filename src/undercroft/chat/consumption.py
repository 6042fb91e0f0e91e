"""How many tokens an answer may take, and how many it took. Does nothing but count."""

import json
import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from undercroft.chat.providers.images import IMAGE_TOKENS
from undercroft.chat.providers.options import Options
from undercroft.chat.providers.protocol import (
    Finished,
    GenerationEvent,
    ReasoningDelta,
    ReasoningEnded,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.questions import Question
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.metering.models import Spent
from undercroft.metering.service import DEFAULT_OUTPUT, Charge

_BYTES_PER_TOKEN: Final = 3
_MESSAGE: Final = 16
"""What a message takes beside its words, at most."""
_INSTRUCTIONS: Final = 1024
"""What ours take, at most."""
_PASSAGE: Final = 512
"""What a passage takes, at most but for scripts of which a tokenizer makes several tokens of one character."""
_UNREAD_KINDS: Final = frozenset(
    {
        ErrorKind.INVALID_REQUEST,
        ErrorKind.NOT_FOUND,
        ErrorKind.RATE_LIMITED,
        ErrorKind.UNAVAILABLE,
    }
)
_UNREAD_CODES: Final = frozenset(
    {"upstream_failed", "upstream_rejected", "upstream_unauthenticated", "upstream_unreachable"}
)
"""What says, before a word, that no model took the prompt. Any other failure may have cost what it was to cost."""


def tokens_wanted(question: Question) -> int:
    """The most tokens that an answer may take: of its prompt, as far as that is known before it is made, and its own.

    What was said before in a conversation, or in the responses that it goes on from, comes to it once that is known.
    """
    return prompt_tokens(question) + (question.max_output_tokens or DEFAULT_OUTPUT)


def prompt_tokens(question: Question) -> int:
    """About the most tokens that the prompt of a question takes: all that its model is told, in whatever field."""
    texts = [message.content for message in question.messages]
    texts += [
        f"{call.name} {call.arguments}"
        for message in question.messages
        for call in message.tool_calls
    ]
    texts += [sealed for message in question.messages for sealed in message.sealed]
    texts.append(question.instructions or "")
    prompt = sum(map(most_tokens, texts)) + _MESSAGE * len(question.messages)
    prompt += IMAGE_TOKENS * sum(len(message.images) for message in question.messages)
    prompt += definition_tokens(question.options)
    if question.search is not None:
        # Of files it is known once they are read.
        prompt += _INSTRUCTIONS + _PASSAGE * question.search.limit
    return prompt


def definition_tokens(options: Options) -> int:
    """What the definitions of the functions take of the prompt, and that of the answer's form."""
    texts = [
        f"{tool.name} {tool.description or ''} {json.dumps(tool.parameters or {})}"
        for tool in options.tools
    ]
    if (form := options.output) is not None:
        texts.append(f"{form.name} {form.description or ''} {json.dumps(form.schema or {})}")
    return sum(map(most_tokens, texts))


def most_tokens(text: str) -> int:
    """About the most tokens that a text can be to a model whose tokenizer is not here: one for three bytes."""
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)


def bounded(question: Question, charge: Charge) -> Question:
    """The question with its answer bounded as it was reserved, where a quota of tokens applies."""
    if not charge.bounds_tokens:
        return question
    return replace(
        question,
        max_output_tokens=question.max_output_tokens or DEFAULT_OUTPUT,
        reserved_tokens=tokens_wanted(question),
    )


def total(each: Iterable[Spent]) -> Spent:
    """What several took together."""
    each = list(each)
    return Spent(
        sum(spent.input_tokens for spent in each),
        sum(spent.output_tokens for spent in each),
        sum(spent.cached_tokens for spent in each),
        any(spent.is_estimated for spent in each),
    )


@dataclass(slots=True)
class _Generation:
    """One that has not come to its end.

    Attributes:
        prompt: Tokens of its prompt, at most.
        most: How many it may say.
        size: Bytes of what it has said.
    """

    prompt: int
    most: int | None
    size: int

    @property
    def spent(self) -> Spent:
        """A model says no more than it may, however the length of its words is counted."""
        said = math.ceil(self.size / _BYTES_PER_TOKEN)
        output = said if self.most is None else min(said, self.most)
        return Spent(self.prompt, output, is_estimated=True)


class Consumption:
    """What one answer takes, of one round of generation or several.

    A round that came to its end took what its model's server says. One that was asked for and broke off, by whomever,
    took its prompt, as that is reserved, and all that was heard of it, shown or not: else whoever breaks off would use
    a model for nothing. Before a model is asked nothing is taken.
    """

    def __init__(self) -> None:
        self._ended = Spent()
        self._open: _Generation | None = None

    @property
    def spent(self) -> Spent:
        """What it has taken so far."""
        return self._ended if self._open is None else total((self._ended, self._open.spent))

    def ask(self, question: Question, begun: str) -> None:
        """A model is asked, by this process or by one before it, and what it says begins so.

        Args:
            question: With all that its prompt is made of.
            begun: What there is of the answer.
        """
        size = len(begun.encode())
        self._open = _Generation(prompt_tokens(question), question.max_output_tokens, size)

    def break_off(self) -> None:
        """The round that is open comes to no end; another one takes its place."""
        self._ended, self._open = self.spent, None

    def end(self, usage: Usage) -> None:
        """A round has come to its end, or was none of a model's."""
        took = Spent(usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.estimated)
        self._ended, self._open = total((self._ended, took)), None

    async def counted(
        self, question: Question, begun: str, generated: AsyncGenerator[GenerationEvent]
    ) -> AsyncGenerator[GenerationEvent]:
        """A round of generation, as it comes. Closing it closes what generates it.

        Args:
            question: As the model is asked it.
            begun: What it goes on after.
            generated: What the model says.
        """
        async with aclosing(generated) as events:
            self.ask(question, begun)
            try:
                async for event in events:
                    self._hear(event)
                    yield event
            except UndercroftError as error:
                self._fail(error)
                raise

    def _hear(self, event: GenerationEvent) -> None:
        match event:
            case Finished(_, usage):
                self.end(usage)
            case TextDelta(text) | ReasoningDelta(text):
                self._add(text)
            case ToolCallDelta():
                self._add(f"{event.name or ''}{event.arguments}")
            case ReasoningEnded():
                pass

    def _add(self, text: str) -> None:
        if self._open is not None:
            self._open.size += len(text.encode())

    def _fail(self, error: UndercroftError) -> None:
        is_unread = error.kind in _UNREAD_KINDS or error.code in _UNREAD_CODES
        if is_unread and self._open is not None and self._open.size == 0:
            self._open = None
