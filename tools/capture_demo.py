"""Draws ``docs/demo.svg``: `make demo` in a real terminal, up to where it waits for Ctrl-C."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

ROOT: Final = Path(__file__).parents[1]
COLUMNS, ROWS = 104, 40
_SECONDS: Final = 600.0
_KEY: Final = re.compile(r"uk_[0-9a-z]{8}_[0-9A-Za-z_-]{43}")
_LAST_LINE: Final = "The service is running."
_LAST_WORDS: Final = b"flush=True"
"""The end of the Python snippet, after which the demo waits."""


def main() -> None:
    """Run the demo, keep what a person sees, stop it."""
    terminal, inside = pty.openpty()
    ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "undercroft", "demo", *sys.argv[1:]],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
    )
    os.close(inside)
    output = _read_until_waiting(terminal)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    lines = _visible_lines(output.decode("utf-8", "replace"))
    _draw(lines, ROOT / "docs" / "demo.svg")


def _read_until_waiting(terminal: int) -> bytes:
    output = b""
    deadline = time.monotonic() + _SECONDS
    while _LAST_WORDS not in output:
        if time.monotonic() > deadline:
            raise TimeoutError("the demo did not come to its end")
        if select.select([terminal], [], [], 1.0)[0]:
            output += os.read(terminal, 65536)
    return output


def _visible_lines(output: str) -> list[str]:
    """What stays on the screen: of a line that was redrawn only its last state."""
    lines: list[str] = []
    for line in output.replace("\r\n", "\n").split("\n"):
        for _ in range(line.count("\x1b[1A")):
            if lines:
                lines.pop()
        kept = line.rpartition("\r")[2].rpartition("\x1b[2K")[2]
        lines.append(_KEY.sub("uk_…", kept))
    return [re.sub(r"\x1b\[\?25[lh]", "", line) for line in lines]


def _draw(lines: list[str], path: Path) -> None:
    end = next(index for index, line in enumerate(lines) if _LAST_LINE in line)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text("$ make demo", style="bold"))
        for line in lines[: end + 3]:
            console.print(Text.from_ansi(line))
        console.save_svg(str(path), title="undercroft")


if __name__ == "__main__":
    main()
