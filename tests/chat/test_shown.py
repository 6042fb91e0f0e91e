"""What was shown is not said again, wherever an answer broke off."""

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

import pytest

from undercroft.chat.citations import Citation
from undercroft.chat.providers.protocol import TextDelta
from undercroft.chat.shown import InterruptedAnswerError, Shown, leave_out

CITATION = Citation(1, UUID(int=1), "a.txt", "quote", 0, 5, 0, 5, 0, 10)
EVENTS = (TextDelta("One. [1]"), CITATION, TextDelta(" Two"), TextDelta(". [1]"), CITATION)
TEXT = "One. [1] Two. [1]"


async def said(events: Sequence[TextDelta | Citation]) -> AsyncGenerator[TextDelta | Citation]:
    for event in events:
        yield event


async def rest(shown: Shown) -> list[TextDelta | Citation]:
    return [event async for event in leave_out(shown, said(EVENTS))]


@pytest.mark.parametrize("length", range(len(TEXT) + 1))
async def test_the_rest_follows_wherever_it_broke_off(length: int) -> None:
    before = (length >= len("One. [1]")) + (length == len(TEXT))
    for citations in range(before + 1):
        events = await rest(Shown(TEXT[:length], citations))
        assert "".join(each.text for each in events if isinstance(each, TextDelta)) == TEXT[length:]
        assert events.count(CITATION) == 2 - citations


@pytest.mark.parametrize(
    "shown",
    [Shown("One! "), Shown(TEXT + " And"), Shown(TEXT, 3)],
    ids=["other", "longer", "cited"],
)
async def test_what_does_not_go_on_from_there_is_refused(shown: Shown) -> None:
    with pytest.raises(InterruptedAnswerError):
        await rest(shown)
