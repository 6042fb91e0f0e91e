"""Builds and checks the lock files: ``make lock`` (needs the package index), ``make check`` (needs nothing).

``requirements.lock`` pins what the service runs on and what installs it; ``requirements-dev.lock`` pins that and what
the tests and checks need. Each begins with a digest of the tables of ``pyproject.toml`` that it was made from, so that
a forgotten ``make lock`` is found without a network.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHON: Final = "3.11"
_PIN: Final = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;]+)", re.MULTILINE)
_REGISTRY_ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock file and the dependency groups that it adds to the project's own dependencies."""

    file: str
    groups: tuple[str, ...]
    constraint: str | None = None


LOCKS: Final = (
    Lock("requirements.lock", ("install",)),
    Lock("requirements-dev.lock", ("install", "dev"), constraint="requirements.lock"),
)


def digest_inputs(lock: Lock, project: Path) -> str:
    """SHA-256, in hexadecimal, of everything in ``pyproject.toml`` that decides the lock's content."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))
    inputs = {
        "python": PYTHON,
        "dependencies": table["project"]["dependencies"],
        "groups": {group: table["dependency-groups"][group] for group in lock.groups},
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def header(lock: Lock, project: Path) -> str:
    """The first lines of a lock file."""
    return f"# Made by `make lock`; do not edit.\n# pyproject.toml: sha256:{digest_inputs(lock, project)}\n"


def pins(text: str) -> dict[str, set[str]]:
    """The versions a lock pins of each package; several where they depend on the Python version."""
    versions: dict[str, set[str]] = {}
    for match in _PIN.finditer(text):
        versions.setdefault(match["name"], set()).add(match["version"])
    return versions


def find_problems(folder: Path) -> list[str]:
    """What keeps the locks of a project folder from being used; empty when all is well."""
    problems: list[str] = []
    texts: dict[str, str] = {}
    for lock in LOCKS:
        path = folder / lock.file
        text = texts[lock.file] = path.read_text(encoding="utf-8") if path.is_file() else ""
        if not text.startswith(header(lock, folder / "pyproject.toml")):
            problems.append(f"{lock.file} was not made from this pyproject.toml: run `make lock`.")
        if _REGISTRY_ADDRESS.search(text):
            problems.append(f"{lock.file} names an address; a lock must work with any mirror.")
        if lock.constraint is not None:
            own = pins(text)
            problems += [
                f"{lock.file} does not pin {name} as {lock.constraint} does."
                for name, versions in pins(texts[lock.constraint]).items()
                if own.get(name) != versions
            ]
    return problems


def compile_lock(lock: Lock, *, upgrade: bool) -> None:
    """Resolve one lock anew, keeping its present versions where they still fit."""
    path = ROOT / lock.file
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        "--quiet",
        "--no-header",
    ]
    command += [
        "--universal",
        "--generate-hashes",
        "--python-version",
        PYTHON,
        "--output-file",
        lock.file,
    ]
    command += [f"--group={group}" for group in lock.groups]
    command += ["--constraint", lock.constraint] if lock.constraint else []
    command += ["--upgrade"] if upgrade else []
    subprocess.run(command, cwd=ROOT, check=True)
    text = header(lock, ROOT / "pyproject.toml") + path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only report what is out of date")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    arguments = parser.parse_args()
    if not arguments.check:
        for lock in LOCKS:
            print(f"Resolving {lock.file}", flush=True)
            compile_lock(lock, upgrade=arguments.upgrade)
    problems = find_problems(ROOT)
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
