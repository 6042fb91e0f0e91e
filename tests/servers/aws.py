"""Amazon's services as moto imitates them, in a process and an environment of their own."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.servers.program import ROOT, running_program

PYTHON: Final = ROOT / ".venv-servers" / "bin" / "python"
PROGRAM: Final = ROOT / "tests" / "servers" / "aws_program.py"

needs_moto: Final = pytest.mark.needs(str(PYTHON))
ACCESS_KEY: Final = "AKIDEXAMPLE"
SECRET_KEY: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@contextmanager
def running_moto() -> Generator[str]:
    """The server's address."""
    with running_program(PYTHON, PROGRAM, stderr=subprocess.DEVNULL) as program:
        yield f"http://127.0.0.1:{int(program.read_line())}"
