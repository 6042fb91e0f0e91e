"""What a file of the project may be called, how long it may be, and what it may not name."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LONGEST: Final = 400
LONG_FILES: Final[dict[str, str]] = {}
"""Files of ``src`` with more lines, each with its reason."""
EMPTY_NAMES: Final = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})
# Spelt in parts: this file is searched as well.
REGISTRIES: Final = re.compile(
    "|".join(
        [
            "pypi" + r"\.org",
            "python" + "hosted",
            "npm" + r"js\.",
            "registry" + r"\.npm",
            "deb" + r"\.debian",
        ]
    )
)
_TEXTS: Final = frozenset(
    {
        ".cfg",
        ".html",
        ".ini",
        ".js",
        ".json",
        ".lock",
        ".md",
        ".py",
        ".sql",
        ".sh",
        ".toml",
        ".txt",
        ".yaml",
        ".yml",
        "",
    }
)
_NOT_OURS: Final = frozenset({"__pycache__", "build", "dist", "htmlcov", "node_modules"})
_HIDDEN_BUT_OURS: Final = frozenset({".ci", ".github"})


def project_files(root: Path) -> list[Path]:
    """Every file of the project, relative to its root; not what tools leave in hidden and other folders."""
    files: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if _is_ours(name))
        files += [Path(folder, name).relative_to(root) for name in sorted(names)]
    return files


def _is_ours(folder: str) -> bool:
    hidden = folder.startswith(".") and folder not in _HIDDEN_BUT_OURS
    return not (hidden or folder in _NOT_OURS)


def find_long(root: Path, files: Iterable[Path]) -> list[str]:
    """Files of ``src`` that are too long to be read in one go."""
    return [
        f"{file} has {lines} lines"
        for file in files
        if file.parts[0] == "src" and file.suffix in {".py", ".sql", ".js"}
        if (lines := (root / file).read_text(encoding="utf-8").count("\n")) > LONGEST
        and file.as_posix() not in LONG_FILES
    ]


def find_empty_names(files: Iterable[Path]) -> list[str]:
    """Files and folders whose name says nothing about what is in them."""
    return [
        str(file)
        for file in files
        if EMPTY_NAMES.intersection(re.split(r"[^a-z]+", file.as_posix().lower()))
    ]


def find_registries(root: Path, files: Iterable[Path]) -> list[str]:
    """Files that name a package registry's host: an installation may use any mirror."""
    return [
        str(file)
        for file in files
        if file.suffix in _TEXTS
        and REGISTRIES.search((root / file).read_text(encoding="utf-8", errors="replace"))
    ]


def test_no_source_file_is_too_long_without_a_reason() -> None:
    assert find_long(ROOT, project_files(ROOT)) == []
    assert all((ROOT / file).is_file() for file in LONG_FILES)


def test_no_file_has_an_empty_name() -> None:
    files = [file for file in project_files(ROOT) if file.parts[0] in {"src", "tests", "tools"}]
    assert find_empty_names(files) == []


def test_no_file_names_a_registry() -> None:
    assert find_registries(ROOT, project_files(ROOT)) == []


def test_each_rule_finds_what_breaks_it(tmp_path: Path) -> None:
    folder = tmp_path / "src" / "text_utils"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("x = 1\n" * (LONGEST + 1))
    (tmp_path / "b.toml").write_text('index = "https://' + "pypi" + '.org/simple"\n')
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "manager.py").touch()
    files = project_files(tmp_path)
    assert find_long(tmp_path, files) == ["src/text_utils/a.py has 401 lines"]
    assert find_empty_names(files) == ["src/text_utils/a.py"]
    assert find_registries(tmp_path, files) == ["b.toml"]


@pytest.mark.parametrize("name", ["src/undercroft/kit/commons.py", "src/undercroft/management.py"])
def test_a_name_that_only_contains_one_is_fine(name: str) -> None:
    assert find_empty_names([Path(name)]) == []
