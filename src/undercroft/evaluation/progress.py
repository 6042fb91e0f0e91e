"""How far a long command is, on standard error: a bar for people, a line now and then for a log."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from undercroft.kit.clock import Clock

_LINES: Final = 10
"""Into how many parts a log divides one phase."""


class ProgressReport:
    """Shows one phase after the other.

    Args:
        clock: For the rate.
        bar: Where there is a terminal.
    """

    def __init__(self, clock: Clock, bar: Progress | None) -> None:
        self._clock = clock
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=None, rate="")
        self._begin("", 0, 0)

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """Begin a phase of ``total`` steps, of which ``done`` were done before this program started."""
        self._begin(name, total, done)
        if self._bar is not None and self._task is not None:
            self._bar.reset(self._task, description=name, total=total, completed=done, rate="")
        else:
            self._write(done)

    def update(self, done: int) -> None:
        """Say how many steps are done."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, rate=self._rate(done))
        elif done * _LINES // max(self._total, 1) > self._shown:
            self._write(done)

    def _begin(self, name: str, total: int, done: int) -> None:
        self._name, self._total, self._first = name, total, done
        self._started = self._clock.monotonic()
        self._shown = -1

    def _write(self, done: int) -> None:
        self._shown = done * _LINES // max(self._total, 1)
        rate = self._rate(done)
        sys.stderr.write(f"{self._name}: {done:,} of {self._total:,}{rate and f', {rate}'}\n")
        sys.stderr.flush()

    def _rate(self, done: int) -> str:
        seconds = self._clock.monotonic() - self._started
        steps = done - self._first
        return f"{steps / seconds:.1f}/s" if steps > 0 and seconds > 0 else ""


@contextmanager
def show_progress(clock: Clock) -> Generator[ProgressReport]:
    """A bar if standard error is a terminal, lines otherwise."""
    if not sys.stderr.isatty():
        yield ProgressReport(clock, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield ProgressReport(clock, bar)
