"""How a caller comes to a thing, and what goes on record of what they do with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act
from undercroft.sharing.models import OWNED, GrantAction, Way
from undercroft.sharing.policy import choose_way, read_ways

OWNER_ALONE: Final[Sequence[GrantAction]] = ()
"""What no grant allows."""
EVERY_ACTION: Final = (
    GrantAction.READ,
    GrantAction.READ_PARTS,
    GrantAction.SEARCH,
    GrantAction.DOWNLOAD,
    GrantAction.COMMENT,
    GrantAction.WRITE,
    GrantAction.SHARE,
)
"""Whoever may do any of these knows of the thing. The one that shows the most comes first."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a caller comes to a thing.

    Attributes:
        action: What a grant lets them do; None for their own thing, with which they may do everything.
        ways: By which grants; one without any for their own.
    """

    action: GrantAction | None
    ways: Sequence[Way]

    @property
    def is_whole(self) -> bool:
        """Whether they may read all of it."""
        return self.action is None or self.action is GrantAction.READ

    @property
    def way(self) -> Way:
        """The way that is put on record, and whose uses are counted."""
        return choose_way(self.ways)


OWN: Final = Access(None, OWNED)
"""How owners come to what is theirs."""


def read_access(action: str | None, ways: Sequence[Sequence[dict[str, Any]]]) -> Access:
    """What ``access_to_document`` and its like answer."""
    return OWN if action is None else Access(GrantAction(action), read_ways(ways))


def acts_under(scope: Scope, way: Way, act: Act) -> list[Act]:
    """An act as it goes on record: of an owner as it is, of others once for each grant that it rests on."""
    return [replace(act, grant_id=grant.id, purpose=scope.purpose) for grant in way.grants] or [act]


def grant_ids(way: Way) -> list[UUID]:
    """The grants that a way rests on."""
    return [grant.id for grant in way.grants]


def join_ways(ways: Iterable[Way]) -> Way:
    """What one answer rests on: each grant once, however much of it each lets through."""
    return Way(tuple({grant.id: grant for way in ways for grant in way.grants}.values()))
