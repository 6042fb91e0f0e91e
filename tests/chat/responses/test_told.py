"""How the stream of a response ends for a watcher whom an error meets on the way."""

from collections.abc import AsyncGenerator

import pytest

from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.service import _told
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError


async def breaking(error: UndercroftError) -> AsyncGenerator[WireObject]:
    yield {"type": "response.created", "sequence_number": 4}
    raise error


async def test_what_ends_for_the_watcher_is_an_event_behind_the_last() -> None:
    told = [it async for it in _told(breaking(UndercroftError("No.", kind=ErrorKind.FORBIDDEN)), 3)]
    assert [(it["type"], it["sequence_number"]) for it in told] == [
        ("response.created", 4),
        ("error", 5),
    ]


async def test_what_passes_takes_the_place_of_no_event() -> None:
    events = _told(breaking(UnavailableError("Try again.")), 3)
    assert (await anext(events))["sequence_number"] == 4
    with pytest.raises(UnavailableError):
        await anext(events)
