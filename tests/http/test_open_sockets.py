"""No principal and no tenant takes the sockets of all others."""

from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest

from undercroft.http.openai.open_sockets import MOST_OPEN, OpenSockets, TooManySocketsError
from undercroft.identity.models import Principal, Role

FLOOD, OTHER = UUID(int=1), UUID(int=2)


def caller(tenant_id: UUID) -> Principal:
    return Principal(tenant_id, uuid4(), uuid4(), Role.MEMBER)


def test_one_who_has_as_many_as_one_may_takes_no_place() -> None:
    sockets, ann = OpenSockets(1000), caller(FLOOD)
    with ExitStack() as opened:
        for _ in range(MOST_OPEN):
            opened.enter_context(sockets.admit(ann))
        with pytest.raises(TooManySocketsError, match="You have 32"), sockets.admit(ann):
            pass
        opened.enter_context(sockets.admit(caller(FLOOD)))
    with sockets.admit(ann):
        pass


def test_a_tenant_of_many_leaves_places_for_another() -> None:
    sockets = OpenSockets(22)
    with ExitStack() as opened:
        places = [opened.enter_context(ExitStack()) for _ in range(20)]
        for place in places:
            place.enter_context(sockets.admit(caller(FLOOD)))
        with pytest.raises(TooManySocketsError, match="your tenant"), sockets.admit(caller(FLOOD)):
            pass
        for _ in range(2):
            opened.enter_context(sockets.admit(caller(OTHER)))
        places[0].close()
        # One may take again what one of theirs has left, as long as there is more than what is spared.
        places[1].close()
        places[2].close()
        opened.enter_context(sockets.admit(caller(FLOOD)))
