from uuid import UUID

from undercroft.evaluation.beir import BeirDocument
from undercroft.evaluation.ingest import prepare_corpus
from undercroft.evaluation.measure import rank_documents
from undercroft.retrieval.search.models import FoundPassage


def passage(filename: str, text: str = "") -> FoundPassage:
    return FoundPassage(
        chunk_id=1,
        document_id=UUID(int=1),
        document_version=1,
        filename=filename,
        attributes={},
        text=text,
        start=0,
        end=0,
        page_start=None,
        page_end=None,
        headings=(),
        score=1.0,
        similarity=None,
    )


def test_a_document_ranks_by_its_best_passage_and_its_twins_with_it() -> None:
    corpus = prepare_corpus(
        [
            BeirDocument("a", "", "one"),
            BeirDocument("b", "", "two"),
            BeirDocument("empty", "", "  "),
            BeirDocument("c", "", "one"),
        ]
    )
    assert list(corpus.contents) == ["a.md", "b.md"]
    assert (corpus.empty, corpus.duplicates) == (1, 1)
    passages = [passage("b.md"), passage("a.md"), passage("b.md")]
    assert rank_documents(passages, corpus.twins) == ["b", "a", "c"]
