"""How many tokens an answer may take, and how many it took. Pure."""

import json
from dataclasses import replace
from typing import Final

from undercroft.chat.answering import Question, most_tokens
from undercroft.chat.providers.extractive import count_tokens
from undercroft.chat.providers.protocol import Usage
from undercroft.metering.models import Spent
from undercroft.metering.service import DEFAULT_OUTPUT, Charge

_MESSAGE: Final = 16
"""What a message takes beside its words, at most."""
_INSTRUCTIONS: Final = 1024
"""What ours take, at most."""
_PASSAGE: Final = 512
"""What a passage takes, at most but for scripts of which a tokenizer makes several tokens of one character."""


def tokens_wanted(question: Question) -> int:
    """The most tokens that an answer may take: of its prompt, as far as that is known before it is made, and its own.

    What was said before in a conversation, or in the responses that it goes on from, comes to what it took once that is
    known.
    """
    texts = [message.content for message in question.messages]
    texts += [call.arguments for message in question.messages for call in message.tool_calls]
    texts += [question.instructions or "", *_definitions(question)]
    prompt = sum(map(most_tokens, texts)) + _MESSAGE * len(question.messages)
    if question.search is not None:
        prompt += _INSTRUCTIONS + _PASSAGE * question.search.limit
    return prompt + (question.max_output_tokens or DEFAULT_OUTPUT)


def bounded(question: Question, charge: Charge) -> Question:
    """The question with its answer bounded as it was reserved, where a quota of tokens applies."""
    if not charge.bounds_tokens:
        return question
    return replace(
        question,
        max_output_tokens=question.max_output_tokens or DEFAULT_OUTPUT,
        reserved_tokens=tokens_wanted(question),
    )


def spent(usage: Usage) -> Spent:
    """What an answer took that has come to its end."""
    return Spent(usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.estimated)


def spent_so_far(question: Question, text: str) -> Spent:
    """What an answer took that was broken off: its model's server did not say."""
    prompt = sum(count_tokens(message.content) for message in question.messages)
    return Spent(prompt, count_tokens(text), is_estimated=True)


def _definitions(question: Question) -> list[str]:
    return [
        f"{tool.name} {tool.description or ''} {json.dumps(tool.parameters or {})}"
        for tool in question.options.tools
    ]
