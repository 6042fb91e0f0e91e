"""The model that writes nothing: it quotes the sentences that answer best, and says that it does."""

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from undercroft.chat.grounding import REFUSAL, ground
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
    Passage,
    TextDelta,
    Usage,
)
from undercroft.chat.relevance import ScoredSentence

MODEL_ID: Final = "extractive"
LEAD: Final = "From your documents (quoted, not generated):"
WITHOUT_PASSAGES: Final = (
    "I can only quote documents, and none came with this question. Search a vector store that holds documents "
    "(the file_search tool), or choose a model that writes."
)
_CHARACTERS_PER_TOKEN: Final = 4
_WORD: Final = re.compile(r"\S+\s*|\s+")


class ExtractiveProvider:
    """Answers with one to three verbatim sentences of the passages, each with its citation marker.

    One token is counted for every four characters, rounded up: a rule anyone can check, marked as an estimate.
    Sampling settings mean nothing here and are ignored; ``max_output_tokens`` and ``stop`` are obeyed.
    """

    @property
    def name(self) -> str:
        """The provider's name for logs and metrics."""
        return MODEL_ID

    @property
    def location(self) -> Location:
        """Nothing leaves this process."""
        return "local"

    @property
    def abilities(self) -> frozenset[Ability]:
        """Nothing is left to chance, so that any seed is obeyed."""
        return frozenset({Ability.SEED})

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The one model."""
        return (ModelInfo(id=MODEL_ID, owned_by="undercroft"),)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams the answer word by word."""
        answer = await asyncio.to_thread(compose, request.question, request.passages)
        answer, reason = _limited(answer, request.stop, request.max_output_tokens)
        for piece in _WORD.findall(answer):
            yield TextDelta(piece)
        prompt = sum(count_tokens(message.content) for message in request.messages)
        yield Finished(reason, Usage(prompt, count_tokens(answer), estimated=True))

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """By the rule that stands in for a tokenizer."""
        return [count_tokens(text) for text in texts]

    async def close(self) -> None:
        """Holds nothing."""


def compose(question: str, passages: Sequence[Passage]) -> str:
    """The whole answer: quotes with their markers, or the refusal, or why there is nothing to quote."""
    if not passages:
        return WITHOUT_PASSAGES
    grounding = ground(question, passages)
    if not grounding.answerable:
        return REFUSAL
    return "\n\n".join((LEAD, *map(_quoted, grounding.quotes)))


def count_tokens(text: str) -> int:
    """The rule that stands in for a tokeniser: a token for every four characters, rounded up."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _quoted(sentence: ScoredSentence) -> str:
    """A verbatim sentence on one line, with the number of its passage."""
    return f"“{' '.join(sentence.text.split())}” [{sentence.passage.number}]"


def _limited(
    answer: str, stop: Sequence[str], max_output_tokens: int | None
) -> tuple[str, FinishReason]:
    found = [position for text in stop if text and (position := answer.find(text)) >= 0]
    answer = answer[: min(found, default=len(answer))]
    if max_output_tokens is None or count_tokens(answer) <= max_output_tokens:
        return answer, FinishReason.STOP
    return answer[: max_output_tokens * _CHARACTERS_PER_TOKEN], FinishReason.LENGTH
