import json
import os
from pathlib import Path
from typing import Any

import pytest

from undercroft.evaluation.lines import EvaluationFileError
from undercroft.evaluation.questions import read_question_set

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def write(folder: Path, *entries: dict[str, Any]) -> tuple[Path, Path]:
    documents = folder / "documents"
    (documents / "home").mkdir(parents=True, exist_ok=True)
    (documents / "home" / "lease.txt").write_text("Rent is due monthly.")
    (documents / ".hidden").write_text("no document")
    questions = folder / "set.jsonl"
    questions.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return questions, documents


def test_questions_become_judgements_of_the_documents_that_hold_their_answers(
    tmp_path: Path,
) -> None:
    found = read_question_set(
        *write(
            tmp_path,
            {"question": "When?", "documents": ["home/lease.txt"], "answers": ["monthly"]},
            {"id": "none", "question": "Who?", "answerable": False},
            {"id": "loose", "question": "What?", "answers": ["rent"]},
        )
    )
    assert [document.id for document in found.documents] == ["home/lease.txt"]
    assert found.documents[0].filename == "home%2Flease.txt"
    assert found.documents[0].render() == b"Rent is due monthly."
    assert [each.id for each in found.questions] == ["line 1", "none", "loose"]
    judged = found.judged()
    assert judged.queries == {"line 1": "When?"}
    assert judged.judgements == {"line 1": {"home/lease.txt": 1}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"question": "?", "answer": ["x"]}, "no field 'answer'"),
        ({"question": " ", "answers": ["x"]}, "1 to 8,192 characters"),
        ({"question": "\ud800?", "answers": ["x"]}, "half of a surrogate pair"),
        ({"question": "a\0b", "answers": ["x"]}, "has a NUL"),
        ({"answers": ["x"]}, '"question" is missing'),
        ({"question": "?"}, "name the documents or the answers"),
        ({"question": "?", "answers": "x"}, '"answers" is a list'),
        ({"question": "?", "answers": [""]}, '"answers" is a list'),
        ({"question": "?", "answers": ["x"] * 101}, '"answers" is a list'),
        ({"question": "?", "answers": ["x"], "answerable": 1}, "true or false"),
        ({"question": "?", "answers": ["x"], "answerable": False}, "no answer names no"),
        ({"question": "?", "documents": ["gone.txt"]}, "has no file 'gone.txt'"),
        ({"question": "?", "documents": ["../set.jsonl"]}, "has no file"),
        ({"question": "?", "answers": ["x"]}, "no document that holds"),
        ({"id": "a\n", "question": "?", "answers": ["x"]}, "cannot be printed"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationFileError, match=message):
        read_question_set(*write(tmp_path, entry))


def test_a_file_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    questions, documents = write(tmp_path, {"question": "When?", "documents": ["home/lease.txt"]})
    (documents / os.fsdecode(b"lease-\xff.txt")).write_text("Rent is due monthly.")
    with pytest.raises(EvaluationFileError, match="cannot be printed"):
        read_question_set(questions, documents)


def test_the_digest_follows_documents_and_questions(tmp_path: Path) -> None:
    entry = {"question": "When?", "documents": ["home/lease.txt"]}
    questions, documents = write(tmp_path, entry)
    before = read_question_set(questions, documents).digest
    assert read_question_set(questions, documents).digest == before
    (documents / "home" / "lease.txt").write_text("Rent is due weekly.")
    assert read_question_set(questions, documents).digest != before


def test_the_projects_own_questions_can_be_read_and_hold_what_they_say() -> None:
    found = read_question_set(SAMPLES / "eval" / "questions.jsonl", SAMPLES / "documents")
    answerable = [each for each in found.questions if each.is_answerable]
    assert (len(found.questions), len(answerable)) == (48, 36)
    known = {
        json.loads(line)["question"]
        for line in (SAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
    }
    # The decision to answer was fitted while the demo's questions were looked at: these are others.
    assert not known & {each.question for each in found.questions}
