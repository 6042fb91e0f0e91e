"""The seam between a response's events and those of its items."""

from typing import Protocol

from undercroft.chat.responses.models import WireObject


class ItemEvents(Protocol):
    """Makes the events of any item of a response's output."""

    def add(self, item: WireObject) -> WireObject:
        """A new item."""
        ...

    def finish(self, item: WireObject) -> WireObject:
        """An item is whole."""
        ...

    def tell(self, name: str, item: WireObject, **fields: object) -> WireObject:
        """Something about an item."""
        ...
