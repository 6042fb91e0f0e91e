"""Reads a retrieval test collection in BEIR's layout.

=============  ==================================================================================
corpus.jsonl   ``{"_id": ..., "title": ..., "text": ...}``, one document a line
queries.jsonl  ``{"_id": ..., "text": ...}``
qrels.tsv      a header, then query, document and grade; BEIR's own archives have qrels/test.tsv
=============  ==================================================================================
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from undercroft.kit.errors import ErrorKind, UndercroftError

MAX_FILE_BYTES: Final = 1024**3
"""Of each file. A million documents: two days of indexing on a small machine."""
MAX_LINE_BYTES: Final = 8 * 1024**2
MAX_QUERY_CHARACTERS: Final = 8192
MAX_NAME_CHARACTERS: Final = 500
"""Of a document's id as a file name; the vault takes 512 characters."""

_CORPUS: Final = "corpus.jsonl"
_QUERIES: Final = "queries.jsonl"
_GRADE: Final = re.compile(r"-?[0-9]{1,9}")
_JUDGEMENTS: Final = ("qrels.tsv", "qrels/test.tsv")


class BeirError(UndercroftError):
    """The folder cannot be read as a test collection; the message names the file and the line."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind=ErrorKind.INVALID_REQUEST)


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


@dataclass(frozen=True, slots=True)
class BeirCollection:
    """A corpus, and queries with the documents that people found relevant to them.

    Attributes:
        name: The folder's.
        documents: In the file's order.
        queries: The texts of those with at least one relevant document, by id.
        judgements: Grades by query and document, for the same queries.
        unknown_documents: How many judgements name a document that the corpus lacks: nothing can find it.
        digest: SHA-256 of the three files.
    """

    name: str
    documents: Sequence[BeirDocument]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]
    unknown_documents: int
    digest: str


def read_beir(folder: Path) -> BeirCollection:
    """Read and check a whole collection. Blocks for as long as its files are large.

    Raises:
        BeirError: When a file is missing, too large or malformed, or no judged query or document is left.
    """
    corpus, queries = _require(folder, _CORPUS), _require(folder, _QUERIES)
    judged = _require(folder, *_JUDGEMENTS)
    documents = _read_documents(corpus)
    if not documents:
        raise BeirError(f"{corpus} holds no document.")
    texts, grades = _read_queries(queries), _read_judgements(judged)
    relevant = {
        query: found for query, found in grades.items() if any(g > 0 for g in found.values())
    }
    if not relevant:
        raise BeirError(f"{judged} judges no document relevant to any query.")
    unknown = next((query for query in relevant if query not in texts), None)
    if unknown is not None:
        raise BeirError(f"{judged} judges the query {unknown!r}, which {queries} lacks.")
    named = [document for found in relevant.values() for document in found]
    known = {document.id for document in documents}
    missing = sum(document not in known for document in named)
    if missing == len(named):
        raise BeirError(
            f"{judged} judges no document of {corpus}: they belong to other collections."
        )
    return BeirCollection(
        name=folder.resolve().name,
        documents=documents,
        queries={query: texts[query] for query in relevant},
        judgements=relevant,
        unknown_documents=missing,
        digest=_digest(corpus, queries, judged),
    )


def _require(folder: Path, *names: str) -> Path:
    """The first of the files that is there."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise BeirError(
            f"{folder} has no file {' or '.join(names)}. A BEIR folder holds {_CORPUS}, {_QUERIES} and "
            f"{_JUDGEMENTS[0]}."
        )
    if found.stat().st_size > MAX_FILE_BYTES:
        raise BeirError(
            f"{found} has more than {MAX_FILE_BYTES:,} bytes. Evaluate on a part of it."
        )
    return found


def _read_documents(path: Path) -> list[BeirDocument]:
    documents: list[BeirDocument] = []
    seen: set[str] = set()
    for place, entry in _entries(path):
        document = BeirDocument(
            _identifier(place, entry),
            _string(place, entry, "title", default=""),
            _string(place, entry, "text"),
        )
        if len(document.filename) > MAX_NAME_CHARACTERS:
            raise BeirError(f"{place}: the _id is too long.")
        if document.id in seen:
            raise BeirError(f"{place}: a second document has the _id {document.id!r}.")
        seen.add(document.id)
        documents.append(document)
    return documents


def _read_queries(path: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    for place, entry in _entries(path):
        query, text = _identifier(place, entry), _string(place, entry, "text").strip()
        if not 1 <= len(text) <= MAX_QUERY_CHARACTERS:
            raise BeirError(f"{place}: a query has 1 to {MAX_QUERY_CHARACTERS:,} characters.")
        if query in queries:
            raise BeirError(f"{place}: a second query has the _id {query!r}.")
        queries[query] = text
    return queries


def _read_judgements(path: Path) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    for index, (place, line) in enumerate(_lines(path)):
        fields = line.split("\t")
        if index == 0 and fields[-1].strip() == "score":
            continue
        if len(fields) != 3 or _GRADE.fullmatch(fields[2].strip()) is None:
            raise BeirError(
                f"{place}: expected a query, a document and a whole number, separated by tabs."
            )
        query, document, grade = (field.strip() for field in fields)
        grades.setdefault(query, {})[document] = int(grade)
    return grades


def _entries(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for place, line in _lines(path):
        try:
            entry = json.loads(line)
        # A RecursionError is what a line of nothing but opening brackets ends in.
        except (ValueError, RecursionError):
            raise BeirError(f"{place}: not valid JSON.") from None
        if not isinstance(entry, dict):
            raise BeirError(f"{place}: expected a JSON object.")
        yield place, cast("dict[str, object]", entry)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that are not blank, each with its place for an error message."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            place = f"{path}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise BeirError(f"{place}: more than {MAX_LINE_BYTES:,} bytes.")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise BeirError(f"{place}: not UTF-8.") from None
            if text.strip():
                yield place, text.rstrip("\r\n")


def _identifier(place: str, entry: Mapping[str, object]) -> str:
    identifier = _string(place, entry, "_id")
    if not identifier or not identifier.isprintable():
        raise BeirError(f"{place}: the _id is empty or has characters that cannot be printed.")
    return identifier


def _string(
    place: str, entry: Mapping[str, object], field: str, *, default: str | None = None
) -> str:
    value = entry.get(field, default)
    if not isinstance(value, str):
        raise BeirError(f'{place}: "{field}" is missing or not a string.')
    return value


def _digest(*paths: Path) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
