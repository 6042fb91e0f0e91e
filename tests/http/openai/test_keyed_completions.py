"""A completion with a key, where its reader leaves."""

from collections.abc import AsyncGenerator
from typing import Any, cast

from undercroft.http.openai.chat_rendering import Completion
from undercroft.http.openai.keyed_completions import KeyedCompletion
from undercroft.http.wire import JsonObject


async def test_who_leaves_among_the_first_chunks_watches_none_of_the_choices_any_more() -> None:
    left: list[int] = []

    async def choice(number: int) -> AsyncGenerator[JsonObject]:
        try:
            yield {"type": "response.created"}
            yield {"type": "response.in_progress"}
        finally:
            left.append(number)

    choices = [choice(number) for number in range(3)]
    for each in choices:
        await anext(each)
    completion = Completion("chatcmpl-1", 0, "echo", len(choices), include_usage=False)
    nothing = cast("Any", None)
    keyed = KeyedCompletion(nothing, nothing, choices, completion, is_replayed=False)
    chunks = keyed.chunks()
    await anext(chunks)
    await chunks.aclose()
    assert sorted(left) == [0, 1, 2]
