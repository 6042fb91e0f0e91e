"""Turns the published weights into the int8 model: ``python -m undercroft.retrieval.minilm.convert SOURCE TARGET``.

A program of its own because it needs the ``onnx`` package and some 400 MB for a few seconds; both go with its process.
"""

import sys
from pathlib import Path

import onnx
from onnxruntime.quantization import (
    QuantType,
    quantize_dynamic,  # pyright: ignore[reportUnknownVariableType] - typed in part
)
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType] - typed in part
from tokenizers import Tokenizer

from undercroft.retrieval.minilm.files import (
    MANIFEST_FILE,
    MODEL_FILE,
    RECIPE,
    TOKENIZER_FILE,
    Manifest,
    sha256_of,
)
from undercroft.retrieval.minilm.graph import build_minilm


def convert(source: Path, target: Path) -> None:
    """Write the model, the tokenizer and, last, the manifest into an empty folder.

    Args:
        source: Folder with the published ``model.safetensors`` and ``tokenizer.json``.
        target: An existing, empty folder.
    """
    exact = target / "model_fp32.onnx"
    onnx.save(  # pyright: ignore[reportUnknownMemberType] - typed in part
        build_minilm(load_file(source / "model.safetensors")), exact
    )
    quantise(exact, target / MODEL_FILE)
    exact.unlink()
    write_tokenizer(source / TOKENIZER_FILE, target / TOKENIZER_FILE)
    manifest = Manifest(
        recipe=RECIPE,
        model_sha256=sha256_of(target / MODEL_FILE),
        tokenizer_sha256=sha256_of(target / TOKENIZER_FILE),
    )
    (target / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")


def quantise(exact: Path, quantised: Path) -> None:
    """Store weights as 8-bit integers, per output channel; activations are scaled as they come.

    Seven of the eight bits are used (``reduce_range``): on processors without VNNI the sum of two products of full
    8-bit numbers saturates, so vectors would be worse there and would differ between machines.
    """
    quantize_dynamic(
        exact,
        quantised,
        op_types_to_quantize=["MatMul", "Gather"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )


def write_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer without its truncation and padding to 128 tokens: whoever uses it sets its own."""
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(target))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
