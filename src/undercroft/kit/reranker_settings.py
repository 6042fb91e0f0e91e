"""The settings of the reranker: a part of ``kit/settings.py``."""

from pathlib import Path
from typing import Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings


class RerankerSettings(BaseSettings):
    """Whether what was found is put in a better order, and by whom."""

    reranker_url: AnyHttpUrl | None = Field(
        default=None,
        description="Base URL of a reranking server; `/rerank` is put at its end. Unset: the fused order stays.",
    )
    reranker_key: SecretStr | None = Field(default=None, description="Its API key.")
    reranker_model: str | None = Field(default=None, description="Its model name.")
    reranker_api: Literal["cohere", "tei"] = Field(
        default="cohere",
        description="What it speaks: Cohere's API, as Jina, vLLM and others do too, or that of TEI.",
    )
    reranker_location: Literal["local", "external"] = Field(
        default="external",
        description="Whether it is the operator's own. What was shared as not for models elsewhere is not sent to an "
        "`external` one, and what is sent to one is put on record.",
    )
    reranker_dir: Path | None = Field(
        default=None,
        description="Folder of a cross-encoder (`model.onnx` and `tokenizer.json`) that is run here, in place of a "
        "server; on `embedding_threads`.",
    )
    reranker_seconds: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Seconds that a search waits for it; then the fused order stays, and the reply says so.",
    )

    @model_validator(mode="after")
    def _names_one_reranker(self) -> Self:
        if self.reranker_url is not None and self.reranker_dir is not None:
            raise ValueError("set either reranker_url or reranker_dir, not both")
        if self.reranker_url is None and (self.reranker_key or self.reranker_model):
            raise ValueError("reranker_key and reranker_model go with reranker_url")
        if (
            self.reranker_url is not None
            and self.reranker_api == "cohere"
            and not self.reranker_model
        ):
            raise ValueError("reranker_model is missing: only a server of TEI has but one")
        return self
