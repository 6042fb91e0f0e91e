"""Plots as SVG, without a library: bars with intervals, curves, and sorted differences. Pure.

The plotting libraries that were looked at either bring a hundred megabytes or draw by scripts in the reader's browser;
a report is to be one file that can be kept and mailed.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from undercroft.evaluation.bootstrap import Interval

_WIDTH: Final = 720
_LABELS: Final = 150
_RIGHT: Final = 120
_ROW: Final = 30
_HEIGHT: Final = 240
_MARGIN: Final = 46
_COLOURS: Final = ("#22577a", "#b4471f", "#3f7d3f", "#7a4b8a", "#8a6d1f")


def bars(rows: Sequence[tuple[str, Interval]], most: float = 1.0) -> str:
    """A bar for each mean, from nothing to ``most``, with its interval as a line."""
    length = _WIDTH - _LABELS - _RIGHT
    parts: list[str] = []
    for number, (label, interval) in enumerate(rows):
        middle = number * _ROW + _ROW / 2
        low, mean, high = (
            _LABELS + length * max(0.0, value) / most
            for value in (interval.low, interval.mean, interval.high)
        )
        parts += [
            _text(_LABELS - 8, middle + 4, label, "end"),
            (
                f'<rect x="{_LABELS}" y="{middle - 8:.1f}" width="{mean - _LABELS:.1f}" height="16" '
                f'fill="{_COLOURS[0]}"/>'
            ),
            _line(low, middle, high, middle, "#111"),
            _text(
                _WIDTH - _RIGHT + 8,
                middle + 4,
                f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]",
            ),
        ]
    return _svg(parts, len(rows) * _ROW, _WIDTH + 40)


def curves(places: Sequence[str], lines: Mapping[str, Sequence[float]]) -> str:
    """A line for each name over the same places, from 0 to 1."""
    length, height = _WIDTH - _LABELS - _RIGHT, _HEIGHT - _MARGIN
    parts: list[str] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = 10 + height * (1 - share)
        parts += [
            _line(_LABELS, y, _LABELS + length, y, "#ddd"),
            _text(_LABELS - 8, y + 4, f"{share:.2f}", "end"),
        ]
    steps = [_LABELS + length * number / max(1, len(places) - 1) for number in range(len(places))]
    parts += [
        _text(x, height + 30, place, "middle") for x, place in zip(steps, places, strict=True)
    ]
    for number, (name, values) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(
            f"{x:.1f},{10 + height * (1 - value):.1f}"
            for x, value in zip(steps, values, strict=True)
        )
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            _text(_WIDTH - _RIGHT + 12, 20 + 18 * number, name, colour=colour),
        ]
    return _svg(parts, _HEIGHT)


def differences(values: Sequence[float]) -> str:
    """A thin bar for each question, sorted: how many gain, how many lose, and how much."""
    ordered = sorted(values, reverse=True)
    most = max((abs(value) for value in ordered), default=0.0) or 1.0
    length, middle = _WIDTH - _LABELS, _HEIGHT / 2
    step = length / max(1, len(ordered))
    parts = [
        _line(_LABELS, middle, _WIDTH, middle, "#111"),
        _text(_LABELS - 8, 14, f"+{most:.2f}", "end"),
        _text(_LABELS - 8, _HEIGHT - 4, f"-{most:.2f}", "end"),
    ]
    for number, value in enumerate(ordered):
        height = (middle - 6) * abs(value) / most
        y = middle - height if value > 0 else middle
        colour = _COLOURS[2] if value > 0 else _COLOURS[1]
        parts.append(
            f'<rect x="{_LABELS + number * step:.2f}" y="{y:.1f}" width="{max(0.4, step * 0.9):.2f}" '
            f'height="{height:.1f}" fill="{colour}"/>'
        )
    return _svg(parts, _HEIGHT)


def _svg(parts: Sequence[str], height: float, width: float = _WIDTH) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
        f'role="img" font-family="sans-serif" font-size="13">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        'stroke-width="1.5"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#111") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
