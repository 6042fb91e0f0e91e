"""Asks the questions of a set as a person would, and holds each answer against what is right."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from undercroft.chat.answering import Answerer
from undercroft.chat.citations import Citation
from undercroft.chat.found import Searched
from undercroft.chat.grounding import REFUSAL
from undercroft.chat.providers.protocol import Message, Role, TextDelta
from undercroft.chat.questions import FileSearch, Question
from undercroft.evaluation.progress import ProgressReport
from undercroft.evaluation.questions import ExpectedAnswer
from undercroft.kit.scope import Scope
from undercroft.retrieval.search.models import FoundPassage

_PASSAGES: Final = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one question.

    Attributes:
        is_refused: Whether the service said that the documents do not hold the answer.
        contains_answer: Whether an accepted answer occurs; None where none is named.
        finds_quote: Whether one of the passages that were found holds the expected words; None where none are named.
        citations: How many there are.
        right_citations: How many of them are of an expected document; None where none is named.
    """

    expected: ExpectedAnswer
    text: str
    is_refused: bool
    contains_answer: bool | None
    finds_quote: bool | None
    citations: int
    right_citations: int | None

    @property
    def is_right(self) -> bool:
        """Whether a person would be content: refused what has no answer, answered and did not refuse what has one."""
        if not self.expected.is_answerable:
            return self.is_refused
        if self.contains_answer is None:
            return bool(self.right_citations)
        return self.contains_answer


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many of how many."""

    count: int
    of: int

    @property
    def share(self) -> float | None:
        """None of nothing: where nothing was asked that tells it."""
        return self.count / self.of if self.of else None

    def render(self) -> dict[str, float | int | None]:
        """As in the JSON report."""
        share = self.share
        return {
            "count": self.count,
            "of": self.of,
            "share": None if share is None else round(share, 4),
        }


def sum_up(outcomes: Sequence[Outcome]) -> dict[str, Ratio]:
    """The figures of answers, by their names in reports."""
    answerable = [it for it in outcomes if it.expected.is_answerable]
    unanswerable = [it for it in outcomes if not it.expected.is_answerable]
    judged = [it for it in answerable if it.right_citations is not None]
    return {
        "right": _count(it.is_right for it in outcomes),
        "answer_contained": _count(it.contains_answer for it in answerable),
        "quote_found": _count(it.finds_quote for it in answerable),
        "citation_precision": Ratio(
            sum(it.right_citations or 0 for it in judged), sum(it.citations for it in judged)
        ),
        "unanswerable_refused": _count(it.is_refused for it in unanswerable),
        "answerable_refused": _count(it.is_refused for it in answerable),
    }


class Asker:
    """Asks one question after the other."""

    def __init__(self, answerer: Answerer, progress: ProgressReport) -> None:
        self._answerer = answerer
        self._progress = progress

    async def ask_all(
        self,
        scope: Scope,
        collection_id: UUID,
        questions: Sequence[ExpectedAnswer],
        twins: Mapping[str, Sequence[str]],
        model: str,
    ) -> list[Outcome]:
        """What became of each.

        Args:
            scope: Whose collection it is.
            collection_id: Holds the documents.
            questions: Each is asked in a conversation of its own.
            twins: The documents that a file name stands for.
            model: Who answers.

        Raises:
            UndercroftError: When nobody offers the model, or it does not answer.
        """
        search = FileSearch((collection_id,), _PASSAGES)
        self._progress.phase("Asking", len(questions))
        outcomes: list[Outcome] = []
        for expected in questions:
            asked = Question((Message(Role.USER, expected.question),), model, search=search)
            await self._answerer.check(scope, asked)
            texts: list[str] = []
            citations: list[Citation] = []
            found: tuple[FoundPassage, ...] = ()
            async with aclosing(self._answerer.answer(scope, asked)) as events:
                async for event in events:
                    match event:
                        case Searched():
                            found = event.found
                        case TextDelta(text):
                            texts.append(text)
                        case Citation():
                            citations.append(event)
                        case _:
                            pass
            outcomes.append(judge_answer(expected, "".join(texts), found, citations, twins))
            self._progress.update(len(outcomes))
        return outcomes


def judge_answer(
    expected: ExpectedAnswer,
    text: str,
    found: Sequence[FoundPassage],
    citations: Sequence[Citation],
    twins: Mapping[str, Sequence[str]],
) -> Outcome:
    """Hold one answer against what is right."""
    right = [it for it in citations if expected.documents.intersection(twins[it.filename])]
    return Outcome(
        expected=expected,
        text=text,
        is_refused=text.strip() == REFUSAL,
        contains_answer=_holds([text], expected.answers) if expected.answers else None,
        finds_quote=_holds([it.text for it in found], expected.quotes) if expected.quotes else None,
        citations=len(citations),
        right_citations=len(right) if expected.documents else None,
    )


def _holds(texts: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether one of the strings occurs in one of the texts, in whatever case, spacing and form of its characters."""
    sought = [_normalised(each) for each in wanted]
    return any(each in text for text in map(_normalised, texts) for each in sought)


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _count(values: Iterable[bool | None]) -> Ratio:
    known = [value for value in values if value is not None]
    return Ratio(sum(known), len(known))
