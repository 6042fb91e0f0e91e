"""The settings of an index of vectors outside of PostgreSQL: a part of ``kit/settings.py``."""

from typing import Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings


class QdrantSettings(BaseSettings):
    """Whether Qdrant proposes near passages, in place of PostgreSQL."""

    qdrant_url: AnyHttpUrl | None = Field(
        default=None,
        description="Base URL of a Qdrant server, at port 6333 unless it names another: it is sent every passage's "
        "vector and no text. Run `undercroft migrate` once it is set or unset. Unset: PostgreSQL finds near passages "
        "by itself.",
    )
    qdrant_key: SecretStr | None = Field(default=None, description="Its API key.")
    qdrant_seconds: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Seconds that a search waits for it; then words alone are searched, and the reply says so.",
    )

    @model_validator(mode="after")
    def _has_a_server_for_its_key(self) -> Self:
        if self.qdrant_key is not None and self.qdrant_url is None:
            raise ValueError("qdrant_key goes with qdrant_url")
        return self
