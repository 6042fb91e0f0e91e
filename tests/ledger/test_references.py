"""The verifier against two implementations by other people: each reads what the other side writes."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.ledger.mirror import LOG, ORIGIN, make_entry, make_key, write_mirror
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.tree import Spine, hash_leaf, root_of_proof
from undercroft.ledger.verification.verify import verify_path

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ROOT / ".venv-references" / "bin" / "python"
PROGRAM: Final = Path(__file__).parent / "references_program.py"
KEY: Final = make_key()

pytestmark = pytest.mark.needs(str(PYTHON))


def run(*arguments: object) -> Any:  # noqa: ANN401 - JSON
    done = subprocess.run(
        [PYTHON, PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_roots_and_proofs_are_those_of_others(tmp_path: Path, size: int) -> None:
    entries = [make_entry(number) for number in range(size)]
    mirror = write_mirror(tmp_path / "log", entries, KEY)
    report = verify_path(mirror, [parse_key(KEY.verifier)])
    assert report.good
    assert report.checkpoint is not None
    sizes = sorted({1, 2, 3, size // 2 or 1, max(1, size - 1), size} & set(range(1, size + 1)))
    theirs = run("read", mirror, KEY.verifier, ",".join(map(str, sizes)))
    assert theirs["signed"] is True
    spine, roots = Spine(), dict[int, str]()
    for entry in entries:
        spine.push(hash_leaf(entry))
        roots[spine.size] = spine.root().hex()
    for at in sizes:
        assert theirs["roots"][str(at)] == [roots[at], roots[at]]
        path = [bytes.fromhex(digest) for digest in theirs["paths"][str(at - 1)]]
        derived = root_of_proof(hash_leaf(entries[at - 1]), at - 1, size, path)
        assert derived == report.checkpoint.root


@pytest.mark.parametrize("size", [1, 256, 600])
def test_a_log_written_by_others_is_good(tmp_path: Path, size: int) -> None:
    lines = tmp_path / "lines"
    lines.write_bytes(b"\n".join(make_entry(number, log=LOG) for number in range(size)))
    (tmp_path / "log").mkdir()
    theirs = run("write", tmp_path / "log", ORIGIN, 1, lines)
    assert theirs["key"] == KEY.verifier
    assert verify_path(tmp_path / "log", [parse_key(theirs["key"])]).good
