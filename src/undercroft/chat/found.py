"""What an answer is made from, as it becomes known before a word of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from undercroft.chat.providers.protocol import Passage
from undercroft.retrieval.search.models import FoundPassage
from undercroft.sharing.models import ModelUse, Release
from undercroft.sharing.policy import allowed_model_use


@dataclass(frozen=True, slots=True)
class Searched:
    """The search is done.

    Attributes:
        found: What it found.
        passages: All that the model is shown, with its numbers.
        whole: What is shown of files, whole; what the search found as well is shown as theirs.
    """

    query: str
    found: tuple[FoundPassage, ...]
    passages: tuple[Passage, ...]
    whole: tuple[FoundPassage, ...] = ()

    @property
    def ranked(self) -> tuple[Passage, ...]:
        """Of what the model is shown what the search found: best first."""
        return self.passages[: len(self.passages) - len(self.whole)]

    @property
    def beside(self) -> tuple[Passage, ...]:
        """Of what the model is shown what is of files."""
        return self.passages[len(self.passages) - len(self.whole) :]

    @property
    def released(self) -> tuple[FoundPassage, ...]:
        """All that the model is shown, in the order of its numbers."""
        of_files = {(each.document_id, each.chunk_id) for each in self.whole}
        ranked = (each for each in self.found if (each.document_id, each.chunk_id) not in of_files)
        return (*ranked, *self.whole)

    def releases(self) -> list[Release]:
        """What that is, and how whoever asked comes to it."""
        return releases_of(self.released)


@dataclass(frozen=True, slots=True)
class FilesRead:
    """The files that are shown whole were read: their passages, in order."""

    released: tuple[FoundPassage, ...]

    def releases(self) -> list[Release]:
        """As of what was searched."""
        return releases_of(self.released)


def releases_of(found: Sequence[FoundPassage]) -> list[Release]:
    """What was found, and how whoever asked comes to it."""
    return [Release(each.document_id, each.way, each.is_own, is_searched=True) for each in found]


def numbered(found: Sequence[FoundPassage]) -> tuple[Passage, ...]:
    """What was found, as a model is shown it: with the numbers that it cites by."""
    return tuple(_passage(number, passage) for number, passage in enumerate(found, 1))


def _passage(number: int, passage: FoundPassage) -> Passage:
    allowed = allowed_model_use(passage.way)
    return Passage(
        number=number,
        document_id=passage.document_id,
        filename=passage.filename,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        page_start=passage.page_start,
        page_end=passage.page_end,
        headings=passage.headings,
        score=passage.score,
        similarity=passage.similarity,
        later_headings=passage.later_headings,
        may_quote=ModelUse.QUOTE in allowed,
        may_leave=ModelUse.EXTERNAL in allowed,
    )
