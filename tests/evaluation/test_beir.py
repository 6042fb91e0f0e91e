import json
from collections.abc import Callable
from pathlib import Path

import pytest

from undercroft.evaluation.beir import BeirDocument, read_beir
from undercroft.evaluation.lines import MAX_FILE_BYTES, MAX_LINE_BYTES, EvaluationFileError

WriteFolder = Callable[..., Path]
CORPUS = [
    {"_id": "d1", "title": "Lease", "text": "Rent is due monthly."},
    {"_id": "a/b c", "text": "No title."},
]
QUERIES = [{"_id": "q1", "text": "when is rent due"}, {"_id": "q2", "text": "unjudged"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\ta/b c\t0\n"


@pytest.fixture
def write(tmp_path: Path) -> WriteFolder:
    """Writes a collection, sound but for what is given."""

    def write_folder(
        corpus: str | bytes | None = None, queries: str | None = None, qrels: str | None = QRELS
    ) -> Path:
        def lines(entries: object) -> str:
            assert isinstance(entries, list)
            return "".join(json.dumps(entry) + "\n" for entry in entries)

        content = lines(CORPUS) if corpus is None else corpus
        (tmp_path / "corpus.jsonl").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
        (tmp_path / "queries.jsonl").write_text(lines(QUERIES) if queries is None else queries)
        if qrels is not None:
            (tmp_path / "qrels.tsv").write_text(qrels)
        return tmp_path

    return write_folder


def test_a_collection_is_read_whole(write: WriteFolder) -> None:
    collection = read_beir(write())
    assert [document.id for document in collection.documents] == ["d1", "a/b c"]
    untitled = collection.documents[1]
    assert isinstance(untitled, BeirDocument)
    assert untitled.title == ""
    assert collection.queries == {"q1": "when is rent due"}
    assert collection.judgements == {"q1": {"d1": 2, "a/b c": 0}}
    assert collection.unknown_documents == 0


def test_judgements_may_lie_where_beir_itself_puts_them(write: WriteFolder) -> None:
    folder = write(qrels=None)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(QRELS)
    assert read_beir(folder).judgements["q1"]["d1"] == 2


def test_the_header_of_the_judgements_may_be_missing(write: WriteFolder) -> None:
    assert read_beir(write(qrels="q1\td1\t1\n")).judgements == {"q1": {"d1": 1}}


def test_the_digest_changes_with_any_file(write: WriteFolder) -> None:
    first = read_beir(write()).digest
    assert read_beir(write()).digest == first
    assert read_beir(write(qrels=QRELS.replace("\t2", "\t1"))).digest != first
    assert read_beir(write(queries='{"_id": "q1", "text": "rent"}')).digest != first


def test_judgements_of_documents_outside_the_corpus_are_counted(write: WriteFolder) -> None:
    assert read_beir(write(qrels=QRELS + "q1\tgone\t1\n")).unknown_documents == 1


def test_a_document_becomes_a_markdown_file_named_by_its_id() -> None:
    assert BeirDocument("a/b c", " Two\n lines ", "Text.").render() == b"# Two lines\n\nText."
    assert BeirDocument("a/b c", "", "Text.").render() == b"Text."
    assert BeirDocument("a/b c", "Only a title", " \n").render() == b"# Only a title"
    assert BeirDocument("1", " ", "\t").render() == b""
    assert BeirDocument("1", "", "lone \ud800 half").render() == b"lone ? half"
    assert BeirDocument("../a/b c", "", "").filename == "..%2Fa%2Fb%20c.md"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"corpus": "[]\n"}, r"corpus.jsonl, line 1: expected a JSON object"),
        ({"corpus": '{"_id": "1", "text": "x"}\n{"_id"\n'}, "line 2: not valid JSON"),
        ({"corpus": "[" * 100_000}, "line 1: not valid JSON"),
        ({"corpus": '{"_id": 1, "text": "x"}'}, '"_id" is missing or not a string'),
        ({"corpus": '{"_id": "1"}'}, '"text" is missing or not a string'),
        ({"corpus": '{"_id": "", "text": "x"}'}, "the _id is empty"),
        ({"corpus": '{"_id": "\\ud800", "text": "x"}'}, "cannot be printed"),
        ({"corpus": json.dumps({"_id": "x" * 501, "text": "x"})}, "the _id is too long"),
        ({"corpus": '{"_id": "1", "text": "x"}\n' * 2}, "line 2: a second document"),
        ({"corpus": b'{"_id": "1", "text": "\xff"}'}, "line 1: not UTF-8"),
        ({"corpus": "\n"}, "holds no document"),
        ({"queries": '{"_id": "q1", "text": " "}'}, "a question has 1 to"),
        ({"queries": '{"_id": "q1", "text": "x"}\n' * 2}, "a second query"),
        ({"queries": ""}, "judges the query 'q1', which"),
        ({"qrels": "q1 d1 1\n"}, "qrels.tsv, line 1: expected"),
        ({"qrels": "q1\td1\t1.5\n"}, "a whole number"),
        ({"qrels": "q1\td1\t0\n"}, "judges no document relevant"),
        ({"qrels": "q1\tother\t1\n"}, "belong to other collections"),
        ({"qrels": None}, r"has no file qrels.tsv or qrels/test.tsv"),
    ],
)
def test_a_broken_folder_is_refused_by_file_and_line(
    write: WriteFolder, broken: dict[str, str], message: str
) -> None:
    with pytest.raises(EvaluationFileError, match=message):
        read_beir(write(**broken))


def test_sizes_are_bounded(write: WriteFolder) -> None:
    long = json.dumps({"_id": "1", "text": "x" * MAX_LINE_BYTES})
    with pytest.raises(EvaluationFileError, match="line 1: more than 8,388,608 bytes"):
        read_beir(write(corpus=long))
    folder = write()
    with (folder / "queries.jsonl").open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(EvaluationFileError, match="more than 1,073,741,824 bytes"):
        read_beir(folder)


def test_a_folder_that_is_not_there_is_said_to_lack_its_files(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFileError, match=r"has no file corpus\.jsonl"):
        read_beir(tmp_path / "nowhere")
