"""What of an answer was shown before it broke off: it is not said again, and what follows fits. Pure."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

from undercroft.chat.citations import Citation
from undercroft.chat.providers.protocol import TextDelta
from undercroft.kit.errors import ErrorKind, UndercroftError

_Event = TypeVar("_Event")


@dataclass(frozen=True, slots=True)
class Shown:
    """The beginning of an answer.

    Attributes:
        text: As it was shown, the markers of citations included.
        citations: How many citations came with it.
    """

    text: str = ""
    citations: int = 0


NOTHING: Final = Shown()


class InterruptedAnswerError(UndercroftError):
    """Whoever made an answer broke off when a part of it had been shown, and what would be said now does not fit."""

    def __init__(self) -> None:
        super().__init__(
            "The service was interrupted while it made this answer. What there is of it is kept; ask again.",
            kind=ErrorKind.UNAVAILABLE,
            code="response_interrupted",
            retry_after=1,
        )


async def leave_out(
    shown: Shown,
    events: AsyncGenerator[_Event | TextDelta | Citation],
    before: tuple[type, ...] = (),
) -> AsyncGenerator[_Event | TextDelta | Citation]:
    """The events that follow what was shown, of an answer that is made from its beginning.

    Args:
        shown: What was shown.
        events: The whole answer.
        before: Kinds of events that come before its text.

    Raises:
        InterruptedAnswerError: When it does not begin with that.
    """
    text, citations = shown.text, shown.citations
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta) and text:
                if not (event.text.startswith(text) or text.startswith(event.text)):
                    raise InterruptedAnswerError
                rest, text = event.text[len(text) :], text[len(event.text) :]
                if rest:
                    yield TextDelta(rest)
            elif isinstance(event, Citation) and citations:
                citations -= 1
            elif (text or citations) and not isinstance(event, (*before, Citation)):
                # It would end, or call, without having said what was shown.
                raise InterruptedAnswerError
            else:
                yield event
    if text or citations:
        raise InterruptedAnswerError
