import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import docx
import pypdfium2
import pytest
from docx.text.paragraph import Paragraph
from lxml import html

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
DOCUMENTS = SAMPLES / "documents"
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
]
ANSWERABLE = [question for question in QUESTIONS if question["answerable"]]
UNANSWERABLE = [question for question in QUESTIONS if not question["answerable"]]
FIELDS = {"id", "question", "answers", "document", "page", "heading", "answerable"}
BUILT = {".pdf", ".docx", ".epub"}
WITH_HEADINGS = {".md", ".html", ".docx", ".epub"}
ABSENT = [
    "Wi-Fi",
    "blood pressure",
    "blood group",
    "savings account",
    "calories",
    "airline",
    "earthquake",
]
"""What unanswerable questions ask about. The others ask for a fact that the right document leaves out."""
MAX_BYTES = 2_000_000

Section = tuple[str | None, str]
"""The nearest heading above (None before the first) and a piece of the text below it."""


def normalise(text: str) -> str:
    return " ".join(text.split()).casefold()


def question_id(question: dict[str, Any]) -> str:
    return question["id"]


def all_documents() -> list[Path]:
    return sorted(path for path in DOCUMENTS.rglob("*") if path.is_file())


@cache
def pdf_pages(path: Path) -> list[str]:
    with pypdfium2.PdfDocument(path) as document:
        return [page.get_textpage().get_text_range() for page in document]


def markdown_sections(path: Path) -> Iterator[Section]:
    heading = None
    for line in path.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"#{1,6} (.+)", line):
            heading = match[1]
        else:
            yield heading, line.replace("*", "")


def docx_sections(path: Path) -> Iterator[Section]:
    heading = None
    for block in docx.Document(str(path)).iter_inner_content():
        if not isinstance(block, Paragraph):
            yield from ((heading, cell.text) for row in block.rows for cell in row.cells)
        elif block.style is not None and str(block.style.name).startswith("Heading"):
            heading = block.text
        else:
            yield heading, block.text


def markup_sections(content: bytes) -> Iterator[Section]:
    heading = None
    for element in html.fromstring(content).iter():
        if re.fullmatch(r"h[1-6]", str(element.tag)):
            heading = element.text_content()
        else:
            yield heading, element.text or ""
        yield heading, element.tail or ""


def epub_sections(path: Path) -> Iterator[Section]:
    with ZipFile(path) as archive:
        for name in archive.namelist():
            if "chapter-" in name:
                yield from markup_sections(archive.read(name))


def sections_of(path: Path) -> Iterator[Section]:
    """What is in a document; without headings where its format has none."""
    match path.suffix:
        case ".pdf":
            yield from ((None, page) for page in pdf_pages(path))
        case ".md":
            yield from markdown_sections(path)
        case ".docx":
            yield from docx_sections(path)
        case ".epub":
            yield from epub_sections(path)
        case ".html":
            yield from markup_sections(path.read_bytes())
        case ".csv":
            rows = csv.reader(path.read_text("utf-8").splitlines())
            yield from ((None, cell) for row in rows for cell in row)
        case _:
            yield None, path.read_text("utf-8")


def text_at(question: dict[str, Any]) -> str:
    """The extracted text of the place that a question names."""
    path = DOCUMENTS / question["document"]
    if question["page"] is not None:
        return pdf_pages(path)[question["page"] - 1]
    sections = sections_of(path)
    return " ".join(text for heading, text in sections if heading == question["heading"])


def contains(text: str, answer: str) -> bool:
    """Whether the answer stands in the text and not only as a part of a longer number or word."""
    pattern = rf"(?<!\w)(?<!\d[.,]){re.escape(normalise(answer))}(?!\w)(?![.,]\d)"
    return re.search(pattern, normalise(text)) is not None


@pytest.mark.parametrize("question", QUESTIONS, ids=question_id)
def test_question_is_well_formed(question: dict[str, Any]) -> None:
    assert set(question) - {"demo"} == FIELDS
    assert question.get("demo", True) is True
    assert question["question"].strip().endswith("?")
    assert type(question["answerable"]) is bool
    assert all(isinstance(answer, str) and answer.strip() for answer in question["answers"])


@pytest.mark.parametrize("question", ANSWERABLE, ids=question_id)
def test_place_of_the_answer_fits_the_format(question: dict[str, Any]) -> None:
    path = DOCUMENTS / question["document"]
    assert path.is_file()
    assert (question["page"] is not None) == (path.suffix == ".pdf")
    assert (question["heading"] is not None) == (path.suffix in WITH_HEADINGS)


@pytest.mark.parametrize("question", ANSWERABLE, ids=question_id)
def test_answer_stands_where_the_question_says(question: dict[str, Any]) -> None:
    assert contains(text_at(question), question["answers"][0])


@pytest.mark.parametrize("question", ANSWERABLE, ids=question_id)
def test_question_does_not_give_its_answer_away(question: dict[str, Any]) -> None:
    assert not any(contains(question["question"], answer) for answer in question["answers"])


@pytest.mark.parametrize("question", UNANSWERABLE, ids=question_id)
def test_unanswerable_question_names_nothing(question: dict[str, Any]) -> None:
    assert question["answers"] == []
    assert question["document"] is question["page"] is question["heading"] is None


def test_what_unanswerable_questions_ask_about_is_in_no_document() -> None:
    asked = " ".join(question["question"] for question in UNANSWERABLE)
    assert all(term in asked for term in ABSENT)
    for path in all_documents():
        text = normalise(" ".join(text for _, text in sections_of(path)))
        assert [term for term in ABSENT if term.casefold() in text] == [], path.name


def test_every_document_is_asked_about() -> None:
    asked = {DOCUMENTS / question["document"] for question in ANSWERABLE}
    assert set(all_documents()) == asked


def test_questions_are_numbered_in_order_and_asked_once() -> None:
    numbers = range(1, len(QUESTIONS) + 1)
    assert [question["id"] for question in QUESTIONS] == [f"q{number:03}" for number in numbers]
    assert len({normalise(question["question"]) for question in QUESTIONS}) == len(QUESTIONS)


def test_the_set_is_large_enough_to_tell_good_from_lucky() -> None:
    assert len(ANSWERABLE) >= 48
    assert len(UNANSWERABLE) >= 12
    assert sum("demo" in question for question in ANSWERABLE) == 3


def test_the_corpus_is_varied_and_small() -> None:
    documents = all_documents()
    assert len(documents) >= 40
    assert {path.suffix for path in documents} == BUILT | {".md", ".txt", ".html", ".csv", ".json"}
    assert sum(len(pdf_pages(path)) >= 5 for path in documents if path.suffix == ".pdf") >= 3
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < MAX_BYTES


def test_every_pdf_page_has_text() -> None:
    for path in DOCUMENTS.rglob("*.pdf"):
        assert all(len(page) > 200 for page in pdf_pages(path)), path.name


def test_building_reproduces_the_committed_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SAMPLES / "build.py", tmp_path], check=True)
    built = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.is_file()}
    committed = {path.relative_to(DOCUMENTS) for path in all_documents() if path.suffix in BUILT}
    assert set(built) == committed
    different = [
        str(name)
        for name, path in built.items()
        if path.read_bytes() != (DOCUMENTS / name).read_bytes()
    ]
    assert different == []
