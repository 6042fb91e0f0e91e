"""Prompts that fit into the context of the model they are for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from undercroft.chat.consumption import definition_tokens, most_tokens, prompt_tokens
from undercroft.chat.prompt import (
    FUNCTIONS_INSTRUCTIONS,
    INSTRUCTIONS,
    FilesDoNotFitError,
    Prompt,
    assemble_prompt,
    counted_texts,
    fenced,
    in_front,
)
from undercroft.chat.providers.extractive import count_tokens
from undercroft.chat.providers.images import IMAGE_TOKENS
from undercroft.chat.providers.protocol import Message, Passage, Role
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.questions import Question

_DEFAULT_CONTEXT: Final = 8192
_DEFAULT_ANSWER: Final = 512
"""Tokens kept free for the answer when the request does not say."""


class PromptBuilder:
    """Puts prompts together.

    Args:
        models: Know how long a context is, and count tokens.
    """

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    async def build(
        self, question: Question, passages: Sequence[Passage], whole: Sequence[Passage] = ()
    ) -> Prompt:
        """The prompt of a question, with what was found for it where it searches.

        Args:
            question: What is asked.
            passages: What was found, best first.
            whole: What is shown beside that of files.

        Raises:
            InvalidRequestError: When what may not be left out does not fit.
        """
        if question.search is None:
            if any(message.quoted for message in question.messages):
                await self._require_room(question)
            system = [question.instructions] if question.instructions else []
            messages = tuple(Message(Role.SYSTEM, text) for text in system) + question.messages
            return Prompt(messages, (), sum(count_tokens(m.content) for m in messages))
        functions = FUNCTIONS_INSTRUCTIONS if question.has_functions else None
        instructions = "\n\n".join(filter(None, (question.instructions, INSTRUCTIONS, functions)))
        before, after = question.around()
        texts = counted_texts(
            question.text,
            (*passages, *whole),
            (*before, *after),
            instructions,
            question.attached,
        )
        counted = await self._models.count_tokens(question.model, texts)
        counts = dict(zip(texts, counted or map(most_tokens, texts), strict=True))
        return assemble_prompt(
            question.text,
            passages,
            before,
            after,
            whole,
            question.attached,
            count_tokens=counts.__getitem__,
            budget=await self._room(question)
            - definition_tokens(question.options)
            - IMAGE_TOKENS * sum(len(message.images) for message in question.messages),
            instructions=instructions,
            keeps_history=question.keeps_all_turns,
            images=question.images,
        )

    def with_files(self, question: Question, passages: Sequence[Passage]) -> Question:
        """A question with its files before it, as data."""
        return replace(
            question,
            messages=in_front(question.messages, map(fenced, passages)),
            is_confined=question.is_confined or not all(each.may_leave for each in passages),
        )

    async def room_for_history(self, question: Question) -> int:
        """About how many tokens earlier turns may have beside a question and its answer."""
        texts = [question.instructions or "", *(message.content for message in question.messages)]
        taken = sum(map(most_tokens, texts)) + definition_tokens(question.options)
        return max(0, await self._room(question) - taken)

    async def _require_room(self, question: Question) -> None:
        """Refuse files that do not fit: a model's server would say so of the whole prompt, or cut it."""
        if prompt_tokens(question) > await self._room(question):
            raise FilesDoNotFitError

    async def _room(self, question: Question) -> int:
        """How many tokens a prompt may have for an answer to fit beside it."""
        context = await self._models.context_tokens(question.model) or _DEFAULT_CONTEXT
        return context - min(question.max_output_tokens or _DEFAULT_ANSWER, context // 2)
