"""Reads a question set: what people ask of their documents, what a right answer holds and where it stands.

A JSON object a line:

==============  ===================================================================================
``question``    as a person would ask
``id``          its name in reports; ``line N`` without
``documents``   which hold the answer: paths below the folder of documents, with ``/``
``answers``     accepted strings: one of them is in a right answer, whatever its case and spacing
``quotes``      words of the documents: one of them is in a passage that is worth finding
``answerable``  false where no document holds the answer, and the right reply is that it is not there
==============  ===================================================================================
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from undercroft.evaluation.beir import MAX_NAME_CHARACTERS, JudgedSet
from undercroft.evaluation.lines import (
    EvaluationFileError,
    digest_files,
    read_entries,
    read_identifier,
    read_question,
    require_file,
)

_FIELDS: Final = frozenset({"id", "question", "documents", "answers", "quotes", "answerable"})
_MAX_STRINGS: Final = 100


@dataclass(frozen=True, slots=True)
class FileDocument:
    """A file below the folder of documents.

    Attributes:
        id: Its path below the folder, with ``/``.
    """

    id: str
    path: Path

    @property
    def filename(self) -> str:
        """The path as one name, its extension last."""
        return quote(self.id, safe="")

    def render(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """One question, and what is right."""

    id: str
    question: str
    documents: frozenset[str]
    answers: tuple[str, ...]
    quotes: tuple[str, ...]
    is_answerable: bool


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions to a folder of documents."""

    name: str
    documents: Sequence[FileDocument]
    questions: Sequence[ExpectedAnswer]
    digest: str

    def judged(self) -> JudgedSet:
        """The questions as queries, and the documents that hold their answers as judgements."""
        placed = [each for each in self.questions if each.documents]
        return JudgedSet(
            name=self.name,
            documents=self.documents,
            queries={each.id: each.question for each in placed},
            judgements={each.id: dict.fromkeys(each.documents, 1) for each in placed},
            unknown_documents=0,
            digest=self.digest,
        )


def read_question_set(questions: Path, folder: Path) -> QuestionSet:
    """Read and check questions, and list the documents. Blocks; reads every file once.

    Raises:
        EvaluationFileError: When either is missing or malformed, or a question names a document that is not there.
    """
    file = require_file(questions.parent, questions.name)
    if file is None:
        raise EvaluationFileError(f"{questions} is not a file.")
    documents = _list_documents(folder)
    expected = read_expected_answers(file)
    known = {document.id for document in documents}
    for each in expected:
        if missing := sorted(each.documents - known):
            raise EvaluationFileError(
                f"{questions}, {each.id}: {folder} has no file {missing[0]!r}."
            )
    if not any(each.documents for each in expected):
        raise EvaluationFileError(f"{questions} names no document that holds an answer.")
    whole = hashlib.sha256(digest_files(file, *(it.path for it in documents)).encode())
    whole.update("\0".join(it.id for it in documents).encode(errors="surrogateescape"))
    return QuestionSet(questions.stem, documents, expected, whole.hexdigest())


def read_expected_answers(path: Path) -> list[ExpectedAnswer]:
    """The questions of a file.

    Raises:
        EvaluationFileError: When a line is malformed, or there is none.
    """
    expected: dict[str, ExpectedAnswer] = {}
    for number, (place, entry) in enumerate(read_entries(path), 1):
        if unknown := sorted(entry.keys() - _FIELDS):
            raise EvaluationFileError(f"{place}: there is no field {unknown[0]!r}.")
        name = read_identifier(place, entry, "id") if "id" in entry else f"line {number}"
        if name in expected:
            raise EvaluationFileError(f"{place}: a second question has the id {name!r}.")
        expected[name] = _read_question(place, name, entry)
    if not expected:
        raise EvaluationFileError(f"{path} holds no question.")
    return list(expected.values())


def _read_question(place: str, name: str, entry: Mapping[str, object]) -> ExpectedAnswer:
    question = read_question(place, entry, "question")
    is_answerable = entry.get("answerable", True)
    if not isinstance(is_answerable, bool):
        raise EvaluationFileError(f'{place}: "answerable" is true or false.')
    documents, answers, quotes = (
        _read_strings(place, entry, field) for field in ("documents", "answers", "quotes")
    )
    if not is_answerable and (documents or answers or quotes):
        raise EvaluationFileError(
            f"{place}: what has no answer names no documents, answers or quotes."
        )
    if is_answerable and not (documents or answers):
        raise EvaluationFileError(f"{place}: name the documents or the answers that are right.")
    return ExpectedAnswer(name, question, frozenset(documents), answers, quotes, is_answerable)


def _read_strings(place: str, entry: Mapping[str, object], field: str) -> tuple[str, ...]:
    value = entry.get(field, [])
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    strings = tuple(item for item in items if isinstance(item, str) and item.strip())
    if len(strings) != len(items) or len(items) > _MAX_STRINGS:
        raise EvaluationFileError(
            f'{place}: "{field}" is a list of at most {_MAX_STRINGS} strings that are not empty.'
        )
    return strings


def _list_documents(folder: Path) -> list[FileDocument]:
    """Every file below the folder but hidden ones, in a stable order."""
    found: list[FileDocument] = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in place.parts):
            continue
        if not place.as_posix().isprintable():
            raise EvaluationFileError(
                f"{str(path)!a}: the name has characters that cannot be printed."
            )
        document = FileDocument(place.as_posix(), path)
        if len(document.filename) > MAX_NAME_CHARACTERS:
            raise EvaluationFileError(f"{path}: the name is too long.")
        found.append(document)
    if not found:
        raise EvaluationFileError(f"{folder} has no files.")
    return found
