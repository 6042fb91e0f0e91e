"""What an answer is made from, as it becomes known before a word of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from undercroft.chat.providers.protocol import Passage
from undercroft.retrieval.search.models import FoundPassage
from undercroft.sharing.models import Release


@dataclass(frozen=True, slots=True)
class Searched:
    """The search is done: what it found, and what of that the model is shown (the passages with numbers)."""

    query: str
    found: tuple[FoundPassage, ...]
    passages: tuple[Passage, ...]

    def releases(self) -> list[Release]:
        """What was found, and how whoever asked comes to it."""
        return releases_of(self.found)


@dataclass(frozen=True, slots=True)
class FilesRead:
    """The files that are shown whole were read: their passages, in order."""

    found: tuple[FoundPassage, ...]

    def releases(self) -> list[Release]:
        """As of what was searched."""
        return releases_of(self.found)


def releases_of(found: Sequence[FoundPassage]) -> list[Release]:
    """What was found, and how whoever asked comes to it."""
    return [Release(each.document_id, each.way, each.is_own, is_searched=True) for each in found]
