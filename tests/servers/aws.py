"""Amazon's services as moto imitates them, in a process and an environment of their own."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ROOT / ".venv-servers" / "bin" / "python"
PROGRAM: Final = Path(__file__).parent / "aws_program.py"

needs_moto: Final = pytest.mark.needs(str(PYTHON))
ACCESS_KEY: Final = "AKIDEXAMPLE"
SECRET_KEY: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@contextmanager
def running_moto() -> Generator[str]:
    """The server's address."""
    with subprocess.Popen(
        [PYTHON, PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            # Closing its input is what ends it.
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=60)
