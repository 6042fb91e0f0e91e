"""Reads a retrieval test collection in BEIR's layout.

=============  ==================================================================================
corpus.jsonl   ``{"_id": ..., "title": ..., "text": ...}``, one document a line
queries.jsonl  ``{"_id": ..., "text": ...}``
qrels.tsv      a header, then query, document and grade; BEIR's own archives have qrels/test.tsv
=============  ==================================================================================
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from undercroft.evaluation.lines import (
    EvaluationFileError,
    digest_files,
    read_entries,
    read_identifier,
    read_lines,
    read_question,
    read_string,
    require_file,
)

MAX_NAME_CHARACTERS: Final = 500
"""Of a document's id as a file name; the vault takes 512 characters."""

_CORPUS: Final = "corpus.jsonl"
_QUERIES: Final = "queries.jsonl"
_GRADE: Final = re.compile(r"-?[0-9]{1,9}")
_JUDGEMENTS: Final = ("qrels.tsv", "qrels/test.tsv")


@dataclass(frozen=True, slots=True)
class BeirDocument:
    """A document of the corpus."""

    id: str
    title: str
    text: str

    @property
    def filename(self) -> str:
        """The id as a name that no file system or API objects to."""
        return f"{quote(self.id, safe='')}.md"

    def render(self) -> bytes:
        """The document as a Markdown file, its title as the heading; no bytes when it has neither title nor text."""
        title = " ".join(self.title.split())
        parts = [f"# {title}"] if title else []
        if self.text.strip():
            parts.append(self.text)
        return "\n\n".join(parts).encode(errors="replace")


class SourceDocument(Protocol):
    """What is taken into the vault."""

    @property
    def id(self) -> str:
        """As judgements name it."""
        ...

    @property
    def filename(self) -> str:
        """Its name in the vault, different for each id."""
        ...

    def render(self) -> bytes:
        """Its bytes; none where it has no content."""
        ...


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """A corpus, and queries with the documents that people found relevant to them.

    Attributes:
        name: The folder's, or the file's.
        documents: In the file's order.
        queries: The texts of those with at least one relevant document, by id.
        judgements: Grades by query and document, for the same queries.
        unknown_documents: How many judgements name a document that the corpus lacks: nothing can find it.
        digest: SHA-256 of what it was read from.
    """

    name: str
    documents: Sequence[SourceDocument]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]
    unknown_documents: int
    digest: str


def read_beir(folder: Path) -> JudgedSet:
    """Read and check a whole collection. Blocks for as long as its files are large.

    Raises:
        EvaluationFileError: When a file is missing, too large or malformed, or no judged query or document is left.
    """
    corpus, queries = _require(folder, _CORPUS), _require(folder, _QUERIES)
    judged = _require(folder, *_JUDGEMENTS)
    documents = _read_documents(corpus)
    if not documents:
        raise EvaluationFileError(f"{corpus} holds no document.")
    texts, grades = _read_queries(queries), _read_judgements(judged)
    relevant = {
        query: found for query, found in grades.items() if any(g > 0 for g in found.values())
    }
    if not relevant:
        raise EvaluationFileError(f"{judged} judges no document relevant to any query.")
    unknown = next((query for query in relevant if query not in texts), None)
    if unknown is not None:
        raise EvaluationFileError(f"{judged} judges the query {unknown!r}, which {queries} lacks.")
    named = [document for found in relevant.values() for document in found]
    known = {document.id for document in documents}
    missing = sum(document not in known for document in named)
    if missing == len(named):
        raise EvaluationFileError(
            f"{judged} judges no document of {corpus}: they belong to other collections."
        )
    return JudgedSet(
        name=folder.resolve().name,
        documents=documents,
        queries={query: texts[query] for query in relevant},
        judgements=relevant,
        unknown_documents=missing,
        digest=digest_files(corpus, queries, judged),
    )


def _require(folder: Path, *names: str) -> Path:
    """The first of the files that is there."""
    found = require_file(folder, *names)
    if found is None:
        raise EvaluationFileError(
            f"{folder} has no file {' or '.join(names)}. A BEIR folder holds {_CORPUS}, {_QUERIES} and "
            f"{_JUDGEMENTS[0]}."
        )
    return found


def _read_documents(path: Path) -> list[BeirDocument]:
    documents: list[BeirDocument] = []
    seen: set[str] = set()
    for place, entry in read_entries(path):
        document = BeirDocument(
            read_identifier(place, entry, "_id"),
            read_string(place, entry, "title", default=""),
            read_string(place, entry, "text"),
        )
        if len(document.filename) > MAX_NAME_CHARACTERS:
            raise EvaluationFileError(f"{place}: the _id is too long.")
        if document.id in seen:
            raise EvaluationFileError(f"{place}: a second document has the _id {document.id!r}.")
        seen.add(document.id)
        documents.append(document)
    return documents


def _read_queries(path: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    for place, entry in read_entries(path):
        query, text = read_identifier(place, entry, "_id"), read_question(place, entry, "text")
        if query in queries:
            raise EvaluationFileError(f"{place}: a second query has the _id {query!r}.")
        queries[query] = text
    return queries


def _read_judgements(path: Path) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    for index, (place, line) in enumerate(read_lines(path)):
        fields = line.split("\t")
        if index == 0 and fields[-1].strip() == "score":
            continue
        if len(fields) != 3 or _GRADE.fullmatch(fields[2].strip()) is None:
            raise EvaluationFileError(
                f"{place}: expected a query, a document and a whole number, separated by tabs."
            )
        query, document, grade = (field.strip() for field in fields)
        grades.setdefault(query, {})[document] = int(grade)
    return grades
