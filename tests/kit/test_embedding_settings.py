"""Embedding models are named whole or not at all."""

from typing import Any

import pytest

from undercroft.kit.settings import Settings, SettingsError, load_settings
from undercroft.retrieval.embedding.models import MINILM, EmbeddingModel, configured_models

SERVER = "http://127.0.0.1:9/v1"
FIRST = {
    "embedding_url": SERVER,
    "embedding_model": "bge-m3",
    "embedding_dimensions": 1024,
}
INCOMING = {
    "incoming_embedding_url": SERVER,
    "incoming_embedding_model": "bge-m3",
    "incoming_embedding_dimensions": 1024,
}
BGE_M3 = EmbeddingModel("bge-m3", 1024, 256)


@pytest.mark.parametrize("settings", [FIRST, INCOMING])
def test_a_half_named_model_is_refused(settings: dict[str, Any]) -> None:
    for name in settings:
        with pytest.raises(SettingsError, match=r"together|goes with its name"):
            load_settings(**{key: value for key, value in settings.items() if key != name})


@pytest.mark.parametrize(
    ("settings", "models"),
    [
        ({}, [MINILM]),
        (FIRST, [BGE_M3]),
        (INCOMING, [MINILM, BGE_M3]),
        ({**FIRST, "incoming_embedding_model": MINILM.name}, [BGE_M3, MINILM]),
    ],
)
def test_a_second_model_is_on_its_way(
    settings: dict[str, Any], models: list[EmbeddingModel]
) -> None:
    assert configured_models(Settings(**settings)) == models


@pytest.mark.parametrize(
    "settings",
    [
        {**FIRST, **INCOMING},
        {"incoming_embedding_model": MINILM.name},
        {"incoming_embedding_model": "bge-m3"},
    ],
    ids=["the same server's", "the same built-in one", "nobody's"],
)
def test_a_second_model_is_another_one_that_there_is(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="incoming_embedding_model"):
        configured_models(Settings(**settings))
