"""An evaluation as one HTML file with its plots, that loads nothing from anywhere."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from undercroft.evaluation.asking import sum_up
from undercroft.evaluation.bootstrap import mean_interval
from undercroft.evaluation.plots import bars, curves, differences
from undercroft.evaluation.report import ANSWERS, Evaluation
from undercroft.evaluation.scores import CUTOFFS

_STYLE: Final = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#111}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}"
    "svg{max-width:100%;height:auto}pre{white-space:pre-wrap}"
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_COMPARED: Final = ("fused", "lexical")


def render_html(evaluation: Evaluation) -> str:
    """The whole report."""
    name = escape(evaluation.header.collection)
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>Evaluation: {name}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>Evaluation: {name}</h1>",
            *_ranking(evaluation),
            *_answers(evaluation),
            *_comparisons(evaluation),
            "<h2>What was measured</h2>",
            _table(
                ("", ""), ((key, str(value)) for key, value in evaluation.header.render().items())
            ),
            "</body></html>",
        ]
    )


def _ranking(evaluation: Evaluation) -> Iterator[str]:
    yield "<h2>Search</h2>"
    yield "<p>nDCG@10, mean over the queries; the lines hold 95 % of 10,000 resamples of them.</p>"
    yield bars(
        [
            (name, mean_interval([query.ndcg_at_10 for query in leg.queries.values()]))
            for name, leg in evaluation.legs.items()
        ]
    )
    figures = {name: leg.render() for name, leg in evaluation.legs.items()}
    yield "<p>Recall at so many documents.</p>"
    yield curves(
        [str(cutoff) for cutoff in CUTOFFS],
        {name: [leg[f"recall@{cutoff}"] for cutoff in CUTOFFS] for name, leg in figures.items()},
    )
    columns = ("ndcg@10", "mrr@10", "recall@10", "recall@100", "p50_ms", "p95_ms")
    yield _table(
        ("", *columns),
        ((name, *(str(leg[column]) for column in columns)) for name, leg in figures.items()),
    )


def _answers(evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.outcomes:
        return
    yield f"<h2>Answers of {escape(str(evaluation.answering_model))}</h2>"
    figures = sum_up(evaluation.outcomes)
    yield _table(
        ("", "count", "of", "share"),
        (
            (meaning, str(ratio.count), str(ratio.of), f"{ratio.share:.1%}")
            for name, meaning in ANSWERS.items()
            if (ratio := figures[name]).share is not None
        ),
    )
    wrong = [outcome for outcome in evaluation.outcomes if not outcome.is_right]
    yield f"<h3>{len(wrong)} that are not right</h3>"
    yield _table(
        ("id", "question", "expected", "answer"),
        (
            (
                it.expected.id,
                it.expected.question,
                " / ".join(it.expected.answers) or ("" if it.expected.is_answerable else "nothing"),
                it.text,
            )
            for it in wrong
        ),
    )


def _comparisons(evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.comparisons:
        return
    yield "<h2>Comparisons</h2>"
    yield _table(
        ("", "metric", "difference", "95 %", ""),
        (
            (
                f"{it.first} - {it.second}",
                it.metric,
                f"{it.difference.mean:+.4f}",
                f"{it.difference.low:+.4f} to {it.difference.high:+.4f}",
                "" if it.difference.is_clear else "not clear",
            )
            for it in evaluation.comparisons
        ),
    )
    first, second = (evaluation.legs.get(name) for name in _COMPARED)
    if first is not None and second is not None:
        yield f"<p>nDCG@10 of each query, {_COMPARED[0]} less {_COMPARED[1]}, sorted.</p>"
        yield differences(
            [
                scores.ndcg_at_10 - second.queries[query].ndcg_at_10
                for query, scores in first.queries.items()
            ]
        )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"]
    lines += [
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return f"<table>{''.join(lines)}</table>"
