"""The settings of model servers: a part of ``kit/settings.py``."""

from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings


class UpstreamSettings(BaseModel):
    """One model server (``[[upstreams]]`` in ``undercroft.toml``).

    The order of the list is the order of failover between servers that offer the same model name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    url: AnyHttpUrl
    key: SecretStr | None = None
    api: Literal["openai", "anthropic"] = "openai"
    location: Literal["local", "external"] = "external"
    continues: bool = False
    sees: bool = False


class ModelServerSettings(BaseSettings):
    """Which model servers are asked."""

    upstream_url: AnyHttpUrl | None = Field(
        default=None, description="Base URL, with `/v1`, of one model server."
    )
    upstream_key: SecretStr | None = Field(default=None, description="Its API key.")
    upstream_api: Literal["openai", "anthropic"] = Field(
        default="openai",
        description="What it speaks: OpenAI's chat completions, or Anthropic's messages.",
    )
    upstream_continues: bool = Field(
        default=False,
        description="Whether it goes on with an answer whose beginning it is given (`continue_final_message`, as vLLM "
        "and SGLang do): what broke off then goes on without a seam.",
    )
    upstream_sees: bool = Field(
        default=False,
        description="Whether its models take pictures (`input_image`): others are sent none.",
    )
    upstreams: tuple[UpstreamSettings, ...] = Field(
        default=(),
        description="Several model servers in order of failover; only in `undercroft.toml`.",
    )

    @model_validator(mode="after")
    def _names_each_server_once(self) -> Self:
        if self.upstream_url is not None and self.upstreams:
            raise ValueError("set either upstream_url or [[upstreams]], not both")
        if self.upstream_key is not None and self.upstream_url is None:
            raise ValueError("upstream_key is set without upstream_url")
        if any(server.continues and server.api == "anthropic" for server in self.model_servers()):
            raise ValueError("only servers of OpenAI's API are asked to go on with an answer")
        names = [upstream.name for upstream in self.upstreams]
        if len(names) != len(set(names)):
            raise ValueError("two [[upstreams]] share a name")
        return self

    def model_servers(self) -> tuple[UpstreamSettings, ...]:
        """Every configured model server, in order of failover."""
        if self.upstream_url is None:
            return self.upstreams
        return (
            UpstreamSettings(
                name="upstream",
                url=self.upstream_url,
                key=self.upstream_key,
                api=self.upstream_api,
                continues=self.upstream_continues,
                sees=self.upstream_sees,
            ),
        )
