"""The mirroring program of ``docs/verify.md``, run against files served as the service serves them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from tests.ledger.mirror import LOG, make_entry, make_key, write_mirror
from undercroft.ledger.verification.findings import Fault
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.verify import verify_path

PAGE: Final = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
KEY: Final = make_key()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing about it."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        del format, args


@pytest.fixture
def served(tmp_path: Path) -> Generator[tuple[Path, str]]:
    """A folder, and the address at which it is served."""
    root = tmp_path / "served"
    (root / "v1").mkdir(parents=True)
    (root / "v1" / "ledger").write_text(json.dumps({"id": LOG}))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield root, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_program_mirrors_a_log_and_later_its_growth(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    root, url = served
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    mirror = tmp_path / "mirror"
    for size in (0, 1, 256, 600, 600):
        entries = [make_entry(number) for number in range(size)]
        write_mirror(root / "ledger" / LOG, entries, KEY)
        subprocess.run(
            [sys.executable, "-c", program, mirror],
            check=True,
            timeout=60,
            env={**os.environ, "UNDERCROFT_API_URL": url, "UNDERCROFT_API_KEY": "uk_x"},
        )
        report = verify_path(mirror, [parse_key(KEY.verifier)])
        assert report.good, report.to_text()
        assert report.checkpoint is not None
        assert report.checkpoint.size == size


def test_the_page_lists_every_problem() -> None:
    section = PAGE.split("### Problems")[1].split("\n\nWhich entry")[0]
    listed = {
        code
        for row in section.splitlines()
        if row.startswith("| `")
        for code in re.findall(r"`([a-z_]+)`", row.split(" | ")[0])
    }
    assert listed == {fault.value for fault in Fault}
