"""The wheel: built without a network, complete, and runnable from an empty environment."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

ROOT: Final = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built by the environment's own pinned hatchling."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(
        sys.executable,
        "-m",
        "uv",
        "build",
        "--wheel",
        "--offline",
        "--no-build-isolation",
        "--out-dir",
        folder,
        ROOT,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_what_the_program_reads(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for folder in ("migrations", "samples/documents"):
        expected |= {
            str(Path("undercroft") / path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    assert expected | {"undercroft/models.lock", "undercroft/py.typed"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_the_wheel_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "an environment"
    _run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    _run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    # What the wheel depends on is in this environment already; the project itself must come from the wheel.
    packages = environment / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / "dependencies.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n", encoding="utf-8"
    )
    assert "serve" in _run(environment / "bin" / "undercroft", "--help")
    where = _run(
        python, "-c", "from undercroft.kit.migrations import *; print(migrations_folder())"
    )
    assert Path(where.strip()) == packages / "undercroft" / "migrations"


def _run(*command: object) -> str:
    """Run a program away from the project, so that nothing is found there by chance; returns its output."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
