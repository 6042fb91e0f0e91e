"""Where the prepared model lies, and how it is known to be whole."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError
from tokenizers import Tokenizer

from undercroft.kit.errors import UnavailableError

MODEL_NAME: Final = "all-minilm-l6-v2"
DIMENSIONS: Final = 384
MAX_TOKENS: Final = 256
"""What the model was trained to read, the two special tokens around a text included."""

RECIPE: Final = 1
"""Version of the conversion; raised whenever the same weights would give other vectors."""

MODEL_FILE: Final = "model_int8.onnx"
TOKENIZER_FILE: Final = "tokenizer.json"
MANIFEST_FILE: Final = "manifest.json"

_MANIFEST_LIMIT: Final = 16 * 1024


class MinilmUnavailableError(UnavailableError):
    """The built-in embedding model cannot be used; the message says what makes it usable."""


class Manifest(BaseModel):
    """What was made, and by which recipe. Detects corruption, not tampering: it lies beside what it describes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: int
    model_sha256: str
    tokenizer_sha256: str


@dataclass(frozen=True, slots=True)
class MinilmFiles:
    """The prepared model, verified.

    Attributes:
        model: ONNX graph from ``input_ids`` and ``attention_mask`` to unit vectors of 384 numbers.
        tokenizer: Its tokenizer, neither truncating nor padding.
    """

    model: Path
    tokenizer: Path


def folder_of(models_dir: Path) -> Path:
    """The folder below ``models_dir`` that holds the prepared model."""
    return models_dir / MODEL_NAME


def locate_minilm(models_dir: Path) -> MinilmFiles:
    """Find the prepared model and check every byte of it (23 MB, some 30 ms).

    Raises:
        MinilmUnavailableError: It was never prepared, is damaged, or was made by another recipe.
    """
    folder = folder_of(models_dir)
    files = MinilmFiles(model=folder / MODEL_FILE, tokenizer=folder / TOKENIZER_FILE)
    try:
        manifest = _read_manifest(folder / MANIFEST_FILE)
        digests = (sha256_of(files.model), sha256_of(files.tokenizer))
    except FileNotFoundError:
        raise _unusable(folder, "is not prepared") from None
    except OSError as error:
        raise _unusable(folder, f"cannot be read ({error.strerror})") from error
    if manifest is None or digests != (manifest.model_sha256, manifest.tokenizer_sha256):
        raise _unusable(folder, "is damaged")
    if manifest.recipe != RECIPE:
        raise _unusable(folder, f"was made by recipe {manifest.recipe}, not {RECIPE}")
    return files


def load_tokenizer(models_dir: Path) -> Tokenizer:
    """The model's own tokenizer, without truncation or padding, for measuring text in the model's tokens.

    Two special tokens are added around a text: of ``MAX_TOKENS``, 254 are left for the text itself.

    Raises:
        MinilmUnavailableError: As :func:`locate_minilm`.
    """
    return Tokenizer.from_file(str(locate_minilm(models_dir).tokenizer))


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> Manifest | None:
    with path.open("rb") as file:
        content = file.read(_MANIFEST_LIMIT)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError:
        return None


def _unusable(folder: Path, reason: str) -> MinilmUnavailableError:
    return MinilmUnavailableError(
        f"The embedding model in {folder} {reason}. Run `make setup` to prepare it."
    )
