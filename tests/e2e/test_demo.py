"""The demo as a newcomer meets it: a cited answer, snippets that work as pasted, and Ctrl-C that stops everything."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psutil
import pytest

_SECONDS: Final = 200.0
_LAST_LINE: Final = "flush=True)"


class Demo:
    """A running demo and what it printed."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._log = data_dir.parent / f"{data_dir.name}.out"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "undercroft", "demo"),
                    *("--port", "0", "--data-dir", str(data_dir)),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "COLUMNS": "200"},
            )

    def wait_until_running(self) -> str:
        deadline = time.monotonic() + _SECONDS
        while _LAST_LINE not in self.printed():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.05)  # what another process prints can only be read
        return self.printed()

    def printed(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def stop(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0
        assert not [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.data_dir) in part for part in process.info["cmdline"] or ())
        ]


@pytest.mark.slow
def test_the_demo_answers_runs_its_snippets_and_stops(tmp_path: Path) -> None:
    data_dir = tmp_path / "a folder with spaces" / "data"
    data_dir.parent.mkdir()
    first = Demo(data_dir)
    try:
        printed = first.wait_until_running()
        assert re.search(r"Indexing\s.*47/47", printed)
        assert re.search(r"\[1\] \S+\.pdf, page \d+", printed)
        assert re.search(r"characters \d+-\d+: “", printed)
        assert "data: [DONE]" in _run(shlex.split(_after(printed, "curl")))
        assert "notice" in _run([sys.executable, "-c", _after(printed, "Python")]).lower()
    finally:
        first.stop()

    second = Demo(data_dir)
    try:
        printed = second.wait_until_running()
        assert re.search(r"Uploading\s.*0/0", printed), "the second demo loads nothing again"
        assert re.search(r"\[1\] \S+\.pdf, page \d+", printed)
    finally:
        second.stop()


def _after(printed: str, title: str) -> str:
    """The snippet below a title, up to the next empty line."""
    return printed.partition(f"\n{title}\n")[2].partition("\n\n")[0]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
