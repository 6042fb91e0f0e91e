"""Draws ``docs/search-sizes.svg`` from the results of ``bench_sizes.py``, of as many sizes as there are.

``PYTHONPATH=. python benchmarks/draw_sizes.py``.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

_RESULTS: Final = Path(__file__).parent / "results"
_PICTURE: Final = Path(__file__).parents[1] / "docs" / "search-sizes.svg"
_COLOURS: Final = ("#1b6ca8", "#c2541b", "#2f7d4f", "#7a3e9d")
_WIDTH: Final = 960
_PANEL: Final = 190.0
_LEFT: Final = 70.0
_ACROSS: Final = 320.0
_BETWEEN: Final = 80.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """From where to where, and which values are written on it; logarithmic."""

    ticks: Sequence[float]
    unit: str = ""

    def place(self, value: float) -> float:
        """Where along it a value stands, from 0 to 1."""
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        bounded = min(max(value, self.ticks[0]), self.ticks[-1])
        return (math.log(bounded) - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram.

    Attributes:
        lines: What each is called, and its points; one whose name ends with ``p95`` is dashed, in the colour before.
    """

    title: str
    across: Axis
    up: Axis
    lines: Mapping[str, Sequence[Point]]


def read_results() -> dict[int, dict[str, Any]]:
    """By the number of passages."""
    files = sorted(_RESULTS.glob("sizes_*.json"))
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    return {document["passages"]: document for document in sorted(documents, key=_passages)}


def _passages(document: Mapping[str, Any]) -> int:
    return document["passages"]


def draw(results: Mapping[int, Mapping[str, Any]]) -> str:
    """The whole picture."""
    milliseconds = Axis((1, 3, 10, 30, 100, 300, 1_000), " ms")
    panels = [
        Panel(
            "One search at a time, by the passages that there are",
            Axis((10_000, 100_000, 1_000_000)),
            milliseconds,
            dict(_by_size(results)),
        ),
        Panel(
            "The vector leg, by what share may be searched",
            Axis((0.0001, 0.001, 0.01, 0.1, 1.0)),
            milliseconds,
            {
                f"of {size:,}": [
                    (
                        float(share.rstrip("%")) / 100,
                        each["vector_everywhere_milliseconds"]["median"],
                    )
                    for share, each in document["by_share_that_may_be_searched"].items()
                ]
                for size, document in results.items()
            },
        ),
    ]
    height = _PANEL + 120
    parts = [
        (
            f'<svg style="background:#fff" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"'
            f' width="{_WIDTH}" role="img" font-family="sans-serif" font-size="13">'
        )
    ]
    for number, panel in enumerate(panels):
        parts += _draw_panel(panel, _LEFT + number * (_ACROSS + 2 * _BETWEEN), 50.0)
    return "".join((*parts, "</svg>\n"))


def _by_size(
    results: Mapping[int, Mapping[str, Any]],
) -> Iterator[tuple[str, list[Point]]]:
    for name, leg in (("lexical leg", "lexical"), ("vector leg", "vector")):
        for percentile, label in (("median", name), ("p95", f"{name} p95")):
            yield (
                label,
                [
                    (
                        size,
                        each["searches"]["concurrency_1"][leg]["milliseconds"][percentile],
                    )
                    for size, each in results.items()
                ],
            )
    for percentile, label in (("median", "whole search"), ("p95", "whole search p95")):
        yield (
            label,
            [
                (
                    size,
                    each["beyond_the_embedding_milliseconds"]["everywhere"]["beyond"][percentile],
                )
                for size, each in results.items()
            ],
        )


def _draw_panel(panel: Panel, left: float, top: float) -> Iterator[str]:
    bottom, right = top + _PANEL, left + _ACROSS
    yield _text(left, top - 22, panel.title, weight="bold")
    for tick in panel.up.ticks:
        at = bottom - panel.up.place(tick) * _PANEL
        yield f'<line x1="{left:.1f}" y1="{at:.1f}" x2="{right:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
        yield _text(left - 8, at + 4, f"{tick:,g}{panel.up.unit}", anchor="end")
    for tick in panel.across.ticks:
        at = left + panel.across.place(tick) * _ACROSS
        label = f"{tick:,.0f}" if tick > 1 else f"{tick * 100:g} %"
        yield _text(at, bottom + 20, label, anchor="middle")
    colours, colour, labels = iter(_COLOURS), "", list[tuple[float, str, str]]()
    for name, points in panel.lines.items():
        is_dashed = name.endswith("p95")
        if not is_dashed:
            colour = next(colours)
        places = [
            (
                left + panel.across.place(x) * _ACROSS,
                bottom - panel.up.place(max(y, 0.001)) * _PANEL,
            )
            for x, y in sorted(points)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="5 4"' if is_dashed else ""
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        if not is_dashed:
            labels.append((places[-1][1], name, colour))
    for place, (_, name, colour) in enumerate(labels):
        yield _text(left + place * 110, bottom + 46, name, colour=colour)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = "#222",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">'
        f"{escape(text)}</text>"
    )


def main() -> None:
    _PICTURE.write_text(draw(read_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
