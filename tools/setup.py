"""Brings ``.venv`` to the state of the lock files: ``make setup``, and ``--dev`` for ``make test`` and ``make check``.

Runs under the machine's own Python, so it uses the standard library alone. A stamp in ``.venv`` holds a digest of
everything that was installed from: when nothing changed, nothing is done, and an interrupted run starts over. Packages
are added or replaced and never removed, so that ``make test`` in one terminal leaves ``make demo`` in another its own.
"""

import argparse
import fcntl
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
VENV: Final = ROOT / ".venv"
PYTHON: Final = VENV / "bin" / "python"
UV_PIP: Final = (PYTHON, "-m", "uv", "pip")
# Scripts in .venv/bin hold absolute paths, so an environment that was moved has to be made anew.
PLACE: Final = VENV / "undercroft-place"
RUNTIME_LOCK: Final = "requirements.lock"
DEV_LOCK: Final = "requirements-dev.lock"
MODELS_LOCK: Final = "models.lock"


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what the tests and checks need")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    # Behind a proxy that reads TLS, only the machine's own store knows the certificate.
    os.environ.setdefault("UV_SYSTEM_CERTS", "1")
    keep_caches_writable()
    try:
        with only_one_setup():
            make_environment()
            once("runtime", [RUNTIME_LOCK, MODELS_LOCK, "pyproject.toml"], install_runtime)
            if arguments.dev:
                once("dev", [DEV_LOCK], install_dev)
    except (SetupError, OSError) as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def only_one_setup() -> Generator[None]:
    """Two makes in one folder must not both write ``.venv``: the second waits, then finds nothing left to do."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another make is preparing this folder; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def make_environment() -> None:
    """Create ``.venv`` unless a usable one stands there."""
    moved = PLACE.is_file() and PLACE.read_text(encoding="utf-8") != str(ROOT)
    if not moved and PYTHON.exists() and succeeds([PYTHON, "-c", "import pip"]):
        return
    say(f"Creating .venv with Python {sys.version.split()[0]}")
    run([sys.executable, "-m", "venv", "--clear", ".venv"], "the virtual environment")
    PLACE.write_text(str(ROOT), encoding="utf-8")


def once(name: str, inputs: list[str], install: Callable[[], None]) -> None:
    """Run ``install`` unless it already completed for these very files."""
    stamp = VENV / f"undercroft-{name}-stamp"
    digest = hashlib.sha256(b"\0".join((ROOT / file).read_bytes() for file in inputs)).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return
    install()
    stamp.write_text(digest, encoding="utf-8")


def install_runtime() -> None:
    """Install the installer, the service's packages, the model packages and the project; prepare the models."""
    say("Installing the hash-pinned packages of requirements.lock and models.lock")
    pinned_uv = VENV / "undercroft-uv.lock"
    pinned_uv.write_text(pin_of("uv"), encoding="utf-8")
    pip = [PYTHON, "-m", "pip", "install", "--quiet"]
    run([*pip, "--require-hashes", "--no-deps", "-r", pinned_uv], "uv")
    install_locked(RUNTIME_LOCK, MODELS_LOCK)
    say("Installing Undercroft itself")
    editable = ["install", "--offline", "--no-deps", "--no-build-isolation", "-e", "."]
    run([*UV_PIP, *editable, "--python", PYTHON], "the project itself")
    say("Preparing the embedding model")
    run([VENV / "bin" / "undercroft", "models"], "the embedding model")


def install_dev() -> None:
    """Install what the tests and checks need, beside the runtime's packages."""
    say("Installing the hash-pinned packages of requirements-dev.lock")
    install_locked(DEV_LOCK)


def install_locked(*files: str) -> None:
    """Install every package of some lock files, each checked against its hash."""
    arguments = ["install", "--require-hashes", "--no-deps"]
    for file in files:
        arguments += ["-r", file]
    # What has no wheel is built, and what builds it is pinned as well.
    uv = [*UV_PIP, *arguments, "--python", PYTHON, "--build-constraints", DEV_LOCK]
    if succeeds(uv):
        return
    # pip is slower, but reads pip.conf: behind a mirror it may be the only one that knows where packages are.
    say("uv could not install them; trying pip, which knows your pip.conf")
    run([PYTHON, "-m", "pip", *arguments], ", ".join(files))


def pin_of(package: str) -> str:
    """The lines of ``requirements.lock`` that pin one package and its hashes."""
    text = (ROOT / RUNTIME_LOCK).read_text(encoding="utf-8")
    match = re.search(rf"^{re.escape(package)}==.*(?:\n[ ]+--hash=.*)+\n", text, re.MULTILINE)
    if match is None:
        raise SetupError(f"{RUNTIME_LOCK} does not pin {package}; run `make lock`.")
    return match[0]


def keep_caches_writable() -> None:
    """Keep the installers' caches inside ``.venv`` where there is no home folder to put them."""
    home = os.environ.get("HOME", "")
    if os.path.isdir(home) and os.access(home, os.W_OK):  # noqa: PTH112 - Path("") would be "."
        return
    os.environ.setdefault("UV_CACHE_DIR", str(VENV / "cache" / "uv"))
    os.environ.setdefault("PIP_CACHE_DIR", str(VENV / "cache" / "pip"))


def say(text: str) -> None:
    """Report a step."""
    print(f"==> {text}", flush=True)


def run(command: list[str | Path], what: str) -> None:
    """Run a step, showing its own output.

    Raises:
        SetupError: When it fails.
    """
    if not succeeds(command):
        raise SetupError(f"{what} could not be prepared; see the message above, then run it again.")


def succeeds(command: list[str | Path]) -> bool:
    """Whether a command ends well."""
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
