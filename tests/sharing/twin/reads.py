"""What people are shown of records and conversations by the services, and what the model has them shown."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from uuid import UUID

from tests.sharing.twin.cast import CONVERSATION, ENTRIES, SAID
from tests.sharing.twin.services import Served, grants_of
from undercroft.chat.conversations.models import ItemPage
from undercroft.chat.sources import REDACTED
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import OWNED, GrantAction, Way

_EVERY_ITEM: Final = ItemPage(10, is_ascending=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody was shown.

    Attributes:
        parts: Of a record its fields, by JSON Pointer; of a conversation what was said, by its number.
        ways: By which they came to it; none when they were refused.
    """

    parts: Mapping[str, object]
    ways: frozenset[tuple[UUID, ...]]


class Reads(Served):
    """A tenant whose people read."""

    async def read_record(self, person: str, record: str, purpose: str | None) -> Seen:
        """What the service shows somebody of a record."""
        scope = replace(self.people[person], purpose=purpose)
        try:
            found = await self.records.get(scope, self.things[record].id)
        except (NotFoundError, NotGrantedError):
            return _seen({}, ())
        own = found.access.ways is None
        ways = OWNED if own else (found.access.ways or {})[GrantAction.READ]
        return _seen(dict(_fields(found.data)), ways)

    async def read_conversation(self, person: str, purpose: str | None) -> tuple[Seen, set[UUID]]:
        """What the service shows somebody of the conversation, and under which grants of what it was made from."""
        scope = replace(self.people[person], purpose=purpose)
        conversation = self.things[CONVERSATION].id
        try:
            found = await self.conversations.get(scope, conversation)
            items = await self.conversations.list_items(scope, conversation, _EVERY_ITEM)
        except (NotFoundError, NotGrantedError):
            return _seen({}, ()), set()
        said = {str(item.number): item.wire["content"][0]["text"] for item in items}
        sources = (release.way for item in items for release in item.releases)
        return _seen(said, found.access.ways), {one for way in sources for one in grants_of(way)}

    def expect_of_record(self, ways: Iterable[tuple[UUID, ...]]) -> Seen:
        """What the model has somebody shown who comes to a record by these ways."""
        ways = frozenset(ways)
        parts = {one: held for one, held in _fields(ENTRIES) if self.model.shows(ways, one)}
        return Seen(parts, ways)

    def expect_of_conversation(
        self, ways: Iterable[tuple[UUID, ...]], *, sees_source: bool
    ) -> Seen:
        """What the model has somebody shown who comes to the conversation by these ways."""
        question, answer = SAID
        said = {"0": question, "1": answer if sees_source else REDACTED}
        return Seen(said if ways else {}, frozenset(ways))


def _seen(parts: Mapping[str, object], ways: Iterable[Way]) -> Seen:
    return Seen(parts, frozenset(map(grants_of, ways)))


def _fields(entries: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """The innermost fields of a record, an object without any among them, by JSON Pointer."""
    for name, held in entries.items():
        pointer = f"{above}/{name}"
        if isinstance(held, Mapping) and held:
            yield from _fields(cast("Mapping[str, Any]", held), pointer)
        else:
            yield pointer, held
