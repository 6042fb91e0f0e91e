"""The settings of the embedding models: a part of ``kit/settings.py``."""

from typing import Final, Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

_LARGEST_VECTOR: Final = 4000
"""What pgvector indexes."""


class EmbeddingSettings(BaseSettings):
    """Who makes vectors of texts; and, while the service moves to another model, who else."""

    embedding_url: AnyHttpUrl | None = Field(
        default=None,
        description="Base URL of an OpenAI-compatible embeddings server; unset uses the built-in MiniLM.",
    )
    embedding_key: SecretStr | None = Field(default=None, description="Its API key.")
    embedding_model: str | None = Field(default=None, description="Its model name.")
    embedding_dimensions: int | None = Field(
        default=None,
        ge=8,
        le=_LARGEST_VECTOR,
        description="Its vector length; pgvector indexes at most 4,000.",
    )
    embedding_threads: int = Field(
        default=2, ge=1, le=256, description="Threads of the built-in embedding model."
    )
    incoming_embedding_model: str | None = Field(
        default=None,
        description="Name of a second model, by which all is embedded as well, [until it takes the first one's "
        "place](search.md#another-embedding-model); `all-minilm-l6-v2` is the built-in one.",
    )
    incoming_embedding_url: AnyHttpUrl | None = Field(
        default=None, description="Base URL of its server; unset for the built-in one."
    )
    incoming_embedding_key: SecretStr | None = Field(default=None, description="Its API key.")
    incoming_embedding_dimensions: int | None = Field(
        default=None,
        ge=8,
        le=_LARGEST_VECTOR,
        description="Its vector length; unset for the built-in one.",
    )

    @model_validator(mode="after")
    def _names_whole_models(self) -> Self:
        remote = (self.embedding_url, self.embedding_model, self.embedding_dimensions)
        if any(remote) and not all(remote):
            raise ValueError(
                "embedding_url, embedding_model and embedding_dimensions are set together or not at all"
            )
        server = (self.incoming_embedding_url, self.incoming_embedding_dimensions)
        if (any(server) or self.incoming_embedding_key) and not self.incoming_embedding_model:
            raise ValueError("what is set of an incoming embedding model goes with its name")
        if any(server) and not all(server):
            raise ValueError(
                "incoming_embedding_url and incoming_embedding_dimensions are set together or not at all"
            )
        return self
