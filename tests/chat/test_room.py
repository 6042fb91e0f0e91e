"""Who floods a process takes no other tenant's place in it."""

from contextlib import ExitStack
from uuid import UUID

import pytest

from undercroft.chat.room import FairRoom
from undercroft.chat.streams.errors import ResponsesBusyError

FLOOD, OTHER, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)


def fill(room: FairRoom, tenant: UUID, places: ExitStack) -> int:
    """How many places a tenant gets."""
    for taken in range(1000):
        try:
            places.enter_context(room.place(tenant))
        except ResponsesBusyError:
            return taken
    raise AssertionError("there is no bound")


def test_a_flood_leaves_places_for_those_who_have_few() -> None:
    room = FairRoom(20)
    with ExitStack() as places:
        assert fill(room, FLOOD, places) == 20
        assert fill(room, OTHER, places) == 2
        assert fill(room, THIRD, places) == 0
        assert room.free == 0
    assert room.free == 20


def test_a_place_that_was_left_is_free_for_whoever_has_less_than_a_share() -> None:
    room = FairRoom(4)
    with ExitStack() as places:
        assert fill(room, FLOOD, places) == 4
        with room.place(OTHER), pytest.raises(ResponsesBusyError):
            places.enter_context(room.place(THIRD))
        with room.place(THIRD):
            pass
        with pytest.raises(ResponsesBusyError):
            places.enter_context(room.place(FLOOD))
