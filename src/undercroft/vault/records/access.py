"""How a caller comes to a record, and what of it they see and change. The database has decided; these are pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act
from undercroft.sharing.models import GrantAction, GrantLimits, ModelUse, Way
from undercroft.sharing.policy import (
    allowed_fields,
    choose_way,
    common_fields,
    covers_pointer,
    read_ways,
    ways_for_models,
    ways_to_record,
)
from undercroft.sharing.ways import acts_under, join_ways
from undercroft.vault.schemas.pointers import is_within

READ: Final = (GrantAction.READ,)
FIND: Final = (GrantAction.SEARCH, GrantAction.READ)
"""Being found takes `search`, and being shown `read`. The first is what it takes at all, as in the next."""
WRITE: Final = (GrantAction.WRITE, GrantAction.READ)


@dataclass(frozen=True, slots=True)
class RecordAccess:
    """By which grants a caller comes to a record.

    Attributes:
        ways: For each action asked for that there is; None for an owner, who may do everything.
    """

    ways: Mapping[GrantAction, Sequence[Way]] | None

    def fields(self, action: GrantAction) -> frozenset[str] | None:
        """The pointers below which they may do it; None for the whole record."""
        if self.ways is None:
            return None
        fields = allowed_fields(self.ways.get(action, ()))
        return None if fields is None or "" in fields else fields

    def for_models(self, model_use: frozenset[ModelUse]) -> "RecordAccess":
        """As far as models that do all of this are let have it."""
        if self.ways is None:
            return self
        left = {action: ways_for_models(ways, model_use) for action, ways in self.ways.items()}
        return RecordAccess({action: ways for action, ways in left.items() if ways})

    def may_find_by(self, pointers: Sequence[str]) -> bool:
        """Whether they may search it, and what they may search covers these fields."""
        if self.ways is not None and GrantAction.SEARCH not in self.ways:
            return False
        fields = self.fields(GrantAction.SEARCH)
        return all(covers_pointer(fields, pointer) for pointer in pointers)

    def changeable(self, *, is_patch: bool) -> frozenset[str] | None:
        """The pointers below which they may change it. A patch is made from what is there: it takes reading as well."""
        fields = self.fields(GrantAction.WRITE)
        return common_fields(fields, self.fields(GrantAction.READ)) if is_patch else fields

    def way(self, *actions: GrantAction) -> Way:
        """All that an act rests on: one grant where that covers the record, else each that shows some of it."""
        grants: dict[GrantLimits, None] = {}
        for action in actions:
            for way in ways_to_record((self.ways or {}).get(action, ())):
                grants |= dict.fromkeys(way.grants)
        return Way(tuple(grants))

    def way_to_fields(self, pointers: Sequence[str]) -> Way | None:
        """What reading just these fields rests on; None when the caller may not read all of them."""
        if self.ways is None:
            return Way(())
        ways = self.ways.get(GrantAction.READ, ())
        chosen: list[Way] = []
        for pointer in pointers:
            showing = [way for way in ways if covers_pointer(allowed_fields([way]), pointer)]
            if not showing:
                return None
            chosen.append(choose_way(showing))
        return join_ways(chosen)

    def acts(self, scope: Scope, action: GrantAction, act: Act) -> list[Act]:
        """An act as it goes on record; nothing, where no grant let the caller do it."""
        if self.ways is not None and action not in self.ways:
            return []
        return acts_under(scope, self.way(action), act)


OWN: Final = RecordAccess(None)


def read_record_access(
    ways: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]] | None,
) -> RecordAccess:
    """What ``ways_to_record`` answers; NULL of what is the caller's own."""
    if ways is None:
        return OWN
    return RecordAccess({GrantAction(action): read_ways(each) for action, each in ways.items()})


def shows_some(fields: frozenset[str] | None, pointer: str) -> bool:
    """Whether something of a field is to be seen: it, what it lies in, or what lies in it."""
    return covers_pointer(fields, pointer) or any(
        is_within(field, pointer) for field in fields or ()
    )
