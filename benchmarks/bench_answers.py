"""Answers: the built-in models held against each other on the sample questions, over HTTP on a running service.

The two that need neither key nor network are compared; the better one is the default.
``PYTHONPATH=. python benchmarks/bench_answers.py [--questions N]``: how many answerable ones the slow model is asked.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import aiohttp

from benchmarks.live_service import Answer, ask, running_service, sample_questions
from benchmarks.report import header, publish, share, summary
from undercroft.chat.citations import UNSUPPORTED_NOTE
from undercroft.chat.grounding import REFUSAL

EXTRACTIVE: Final = "extractive"
SMOLLM2: Final = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question, its answer, and how many of the answer's quotes stand in the cited file."""

    question: dict[str, Any]
    answer: Answer
    verified_quotes: int

    @property
    def refused(self) -> bool:
        """Whether the service says that the documents do not hold it."""
        return self.answer.text.strip() == REFUSAL

    @property
    def contains_answer(self) -> bool:
        """Whether an accepted answer occurs, in whatever case and spacing."""
        text = _normalised(self.answer.text)
        return any(_normalised(answer) in text for answer in self.question["answers"])

    @property
    def cites_document(self) -> bool:
        """Whether the file that holds the answer is cited."""
        return bool(self._citations_of_document())

    @property
    def cites_place(self) -> bool | None:
        """Whether the page or heading is cited; None when the file has neither."""
        page, heading = self.question["page"], self.question["heading"]
        if page is None and heading is None:
            return None
        return any(
            heading in span["headings"]
            if page is None
            else span["page"] <= page <= span["page_end"]
            for span in self._citations_of_document()
        )

    def _citations_of_document(self) -> list[dict[str, Any]]:
        name = PurePath(self.question["document"]).name
        return [it["undercroft"] for it in self.answer.citations if it["filename"] == name]


class FileTexts:
    """The texts of a vector store's files, each asked for once."""

    def __init__(self, session: aiohttp.ClientSession, store_id: str) -> None:
        self._session = session
        self._store_id = store_id
        self._texts: dict[str, list[str]] = {}

    async def hold(self, file_id: str, quote: str) -> bool:
        """Whether a quote stands in a file, character for character."""
        if file_id not in self._texts:
            path = f"/v1/vector_stores/{self._store_id}/files/{file_id}/content"
            async with self._session.get(path) as response:
                page = await response.json()
            self._texts[file_id] = [part["text"] for part in page["data"]]
        return any(quote in text for text in self._texts[file_id])


async def ask_all(
    session: aiohttp.ClientSession, store_id: str, model: str, questions: Sequence[dict[str, Any]]
) -> list[Outcome]:
    """Ask one question after the other; a first one, which starts the model, is not counted."""
    texts = FileTexts(session, store_id)
    outcomes: list[Outcome] = []
    await ask(session, store_id, questions[0]["question"], model)
    for number, question in enumerate(questions, 1):
        print(f"\r{model}: {number} of {len(questions)}", end="", file=sys.stderr)
        answer = await ask(session, store_id, question["question"], model)
        holds = [
            await texts.hold(it["file_id"], it["undercroft"]["quote"]) for it in answer.citations
        ]
        outcomes.append(Outcome(question, answer, sum(holds)))
    print(file=sys.stderr)
    return outcomes


def describe(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The shares and times of one model's answers."""
    answerable = [it for it in outcomes if it.question["answerable"]]
    unanswerable = [it for it in outcomes if not it.question["answerable"]]
    placed = [it.cites_place for it in answerable if it.cites_place is not None]
    written = [it.answer for it in outcomes if not it.refused]
    return {
        "answer_contained": share(sum(it.contains_answer for it in answerable), len(answerable)),
        "right_document_cited": share(sum(it.cites_document for it in answerable), len(answerable)),
        "right_page_or_heading_cited": share(sum(placed), len(placed)),
        "unanswerable_refused": share(sum(it.refused for it in unanswerable), len(unanswerable)),
        "answerable_refused": share(sum(it.refused for it in answerable), len(answerable)),
        "marked_as_unsupported": share(
            sum(UNSUPPORTED_NOTE in answer.text for answer in written), len(written)
        ),
        "quotes_verified": share(
            sum(it.verified_quotes for it in outcomes),
            sum(len(it.answer.citations) for it in outcomes),
        ),
        "first_text_ms": summary([1000 * answer.first_text_seconds for answer in written]),
        "whole_answer_ms": summary([1000 * answer.seconds for answer in written]),
    }


def list_answers(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What was answered, for reading."""
    return [
        {
            "id": it.question["id"],
            "text": it.answer.text,
            "contains_answer": it.contains_answer,
            "cited": [
                [span["filename"], span["undercroft"]["page"]] for span in it.answer.citations
            ],
        }
        for it in outcomes
    ]


def choose_evenly(questions: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many of the answerable questions, at even distances, and all the others."""
    answerable = [question for question in questions if question["answerable"]]
    count = min(count, len(answerable))
    chosen = [answerable[number * len(answerable) // count] for number in range(count)]
    return chosen + [question for question in questions if not question["answerable"]]


async def measure(count: int) -> dict[str, Any]:
    document = header("answers")
    questions = sample_questions()
    subset = choose_evenly(questions, count)
    async with running_service() as service:
        key = await service.make_key("answers")
        store_id = await service.ingest_samples(key)
        async with service.open_session(key) as session:
            quoted = await ask_all(session, store_id, EXTRACTIVE, questions)
            written = await ask_all(session, store_id, SMOLLM2, subset)
    asked = {question["id"] for question in subset}
    both = {
        EXTRACTIVE: describe([it for it in quoted if it.question["id"] in asked]),
        SMOLLM2: describe(written),
    }
    document["same_questions"] = both
    document["all_questions"] = {EXTRACTIVE: describe(quoted)}
    document["better"] = max(both, key=lambda model: both[model]["answer_contained"]["count"])
    document["default"] = service.settings.default_model
    document["answers"] = {EXTRACTIVE: list_answers(quoted), SMOLLM2: list_answers(written)}
    return document


def _normalised(text: str) -> str:
    return " ".join(text.split()).casefold()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--questions", type=int, default=20, help="answerable ones for the slow model"
    )
    publish(asyncio.run(measure(max(1, parser.parse_args().questions))))


if __name__ == "__main__":
    main()
