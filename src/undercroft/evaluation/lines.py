"""Files of one JSON object a line, read with a limit on each line and errors that name the place."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, cast

from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.surrogates import join_surrogates

MAX_FILE_BYTES: Final = 1024**3
"""Of each file. A million documents: two days of indexing on a small machine."""
MAX_LINE_BYTES: Final = 8 * 1024**2
_MAX_QUESTION_CHARACTERS: Final = 8192


class EvaluationFileError(UndercroftError):
    """A file cannot be read as what it is to be; the message names the file and the line."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind=ErrorKind.INVALID_REQUEST)


def require_file(folder: Path, *names: str) -> Path | None:
    """The first of the files that is there.

    Raises:
        EvaluationFileError: When it is too large.
    """
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is not None and found.stat().st_size > MAX_FILE_BYTES:
        raise EvaluationFileError(
            f"{found} has more than {MAX_FILE_BYTES:,} bytes. Evaluate on a part of it."
        )
    return found


def read_entries(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """The objects, each with its place for an error message.

    Raises:
        EvaluationFileError: At a line that is no JSON object.
    """
    for place, line in read_lines(path):
        try:
            entry = json.loads(line)
        # A RecursionError is what a line of nothing but opening brackets ends in.
        except (ValueError, RecursionError):
            raise EvaluationFileError(f"{place}: not valid JSON.") from None
        if not isinstance(entry, dict):
            raise EvaluationFileError(f"{place}: expected a JSON object.")
        yield place, cast("dict[str, object]", entry)


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that are not blank, each with its place for an error message.

    Raises:
        EvaluationFileError: At a line that is too long or not UTF-8.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            place = f"{path}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise EvaluationFileError(f"{place}: more than {MAX_LINE_BYTES:,} bytes.")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise EvaluationFileError(f"{place}: not UTF-8.") from None
            if text.strip():
                yield place, text.rstrip("\r\n")


def read_identifier(place: str, entry: Mapping[str, object], field: str) -> str:
    """A name that can be printed.

    Raises:
        EvaluationFileError: When it is not one.
    """
    identifier = read_string(place, entry, field)
    if not identifier or not identifier.isprintable():
        raise EvaluationFileError(
            f"{place}: the {field} is empty or has characters that cannot be printed."
        )
    return identifier


def read_string(
    place: str, entry: Mapping[str, object], field: str, *, default: str | None = None
) -> str:
    """A field that is a string.

    Raises:
        EvaluationFileError: When it is missing or something else.
    """
    value = entry.get(field, default)
    if not isinstance(value, str):
        raise EvaluationFileError(f'{place}: "{field}" is missing or not a string.')
    return value


def read_question(place: str, entry: Mapping[str, object], field: str) -> str:
    """What is asked of the index.

    Raises:
        EvaluationFileError: When it is missing, or nothing that a database takes as text.
    """
    question = read_string(place, entry, field).strip()
    if not 1 <= len(question) <= _MAX_QUESTION_CHARACTERS:
        raise EvaluationFileError(
            f"{place}: a question has 1 to {_MAX_QUESTION_CHARACTERS:,} characters."
        )
    if "\0" in question or join_surrogates(question) != question:
        raise EvaluationFileError(f"{place}: the {field} has a NUL or half of a surrogate pair.")
    return question


def digest_files(*paths: Path) -> str:
    """SHA-256 of the files."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
