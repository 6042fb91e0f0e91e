"""Every setting of the service, in one frozen object.

Values come from environment variables ``UNDERCROFT_<NAME>``, then from ``undercroft.toml`` in the working folder (or
the file that ``UNDERCROFT_CONFIG`` names), then from the defaults below. An unknown or malformed one stops the start
and is named.
"""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from undercroft.kit.comma_separated import CommaSeparated
from undercroft.kit.crypto.providers.kms_key import check_arn, check_arns, check_endpoint
from undercroft.kit.egress_policy import EgressSettings
from undercroft.kit.embedding_settings import EmbeddingSettings
from undercroft.kit.mail.settings import MailSettings
from undercroft.kit.model_server_settings import ModelServerSettings
from undercroft.kit.qdrant_settings import QdrantSettings
from undercroft.kit.reranker_settings import RerankerSettings
from undercroft.kit.session_settings import SessionSettings

MEBIBYTE: Final = 1024 * 1024
CONFIG_VARIABLE: Final = "UNDERCROFT_CONFIG"
_OTHER_VARIABLES: Final = {CONFIG_VARIABLE, "UNDERCROFT_API_URL", "UNDERCROFT_API_KEY"}
"""Not settings: where the settings are, and what `undercroft ingest` calls."""


class SettingsError(Exception):
    """A setting is unknown, malformed or contradicts another; the message names each one."""


def _check_postgres_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("a database URL starts with postgresql://")
    return url


PostgresUrl = Annotated[SecretStr, AfterValidator(_check_postgres_url)]
"""A database URL. A secret, for the password in it; not taken apart here, because libpq's forms are many."""

_BUCKET_URL: Final = re.compile(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?", re.ASCII
)


class Settings(
    MailSettings,
    SessionSettings,
    EgressSettings,
    ModelServerSettings,
    EmbeddingSettings,
    QdrantSettings,
    RerankerSettings,
):
    """The service's settings. ``docs/settings.md`` is generated from these fields and held to them by a test."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="UNDERCROFT_", frozen=True, extra="forbid", validate_default=True
    )

    data_dir: Path = Field(
        default=Path(".undercroft"),
        description="Folder of the embedded database, the blobs and the logs. Created with mode 0700.",
    )
    models_dir: Path = Field(
        default=Path(sys.prefix) / "share" / "undercroft" / "models",
        description="Folder of the prepared embedding model; shared by every service of one environment.",
    )
    key_provider: Literal["file", "aws_kms"] = Field(
        default="file",
        description="Who wraps every tenant's key. Change it as the page on storage says.",
    )
    key_file: Path | None = Field(
        default=None,
        description=(
            "File of the keys that wrap every tenant's key; by default `keys/provider.key` in the data folder. Made "
            "at the first start. Keep a copy of it apart from the backups: without it nothing can be read."
        ),
    )
    kms_key_id: str | None = Field(
        default=None,
        description="ARN of a symmetric key of AWS KMS. It says the region, too.",
    )
    kms_other_key_ids: CommaSeparated = Field(
        default=(),
        description=(
            "ARNs of further keys that unwrap what they wrapped, comma-separated: the former one, or the next. No "
            "other key is used."
        ),
    )
    kms_endpoint: AnyHttpUrl | None = Field(
        default=None,
        description="Server of these keys, by `https` unless it is on this machine; unset is Amazon's in their region.",
    )
    ledger_origin: str = Field(
        default="undercroft.local",
        max_length=200,
        pattern=r"^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*$",
        description=(
            "What the names of new ledger logs begin with: this service's host name, perhaps with a path. Logs that "
            "have been signed keep their name."
        ),
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is written."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or coloured text for people."
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one."
    )
    allowed_hosts: CommaSeparated = Field(
        default=("localhost", "127.0.0.1", "[::1]"),
        description="Host names the service answers to, comma-separated; `*.example.org` covers subdomains.",
    )
    cors_origins: CommaSeparated = Field(
        default=(),
        description="Browser origins that may call the API, comma-separated. None by default.",
    )
    trusted_proxies: CommaSeparated = Field(
        default=(),
        description="Addresses or networks whose X-Forwarded-For and -Proto are believed. None by default.",
    )

    database_url: PostgresUrl | None = Field(
        default=None,
        description="Service login of an external PostgreSQL 15+; unset starts the embedded server.",
    )
    migration_url: PostgresUrl | None = Field(
        default=None,
        description="Owner login of that database, for `undercroft migrate` and whatever else only an owner may do.",
    )
    database_pool_size: int = Field(
        default=16, ge=2, le=500, description="Connections per process."
    )
    database_statement_cache: int = Field(
        default=256,
        ge=0,
        le=10_000,
        description="Prepared statements kept per connection; 0 for PgBouncer before 1.21.",
    )

    blob_store_url: str | None = Field(
        default=None,
        description="`s3://BUCKET/PREFIX` keeps documents' bytes there; unset keeps them in the data folder.",
    )
    s3_endpoint: AnyHttpUrl | None = Field(
        default=None, description="Server of that bucket; unset is Amazon's."
    )
    s3_region: str | None = Field(
        default=None, description="Its region; unset is what `AWS_REGION` says."
    )
    s3_access_key_id: SecretStr | None = Field(
        default=None,
        description="Who enters the bucket; unset takes the credentials of the environment or the machine.",
    )
    s3_secret_access_key: SecretStr | None = Field(
        default=None, description="The secret that goes with it."
    )

    default_model: str = Field(
        default="extractive",
        description="Model of a request that names none.",
    )
    local_model_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Threads of the built-in language model. Unset: half of the processors.",
    )
    local_model_queue: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Requests that may wait for the built-in language model.",
    )

    max_upload_bytes: int = Field(
        default=64 * MEBIBYTE, ge=1024, description="Largest file that may be uploaded, in bytes."
    )
    document_retention_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which a deleted document can be restored before it is erased.",
    )
    user_quota_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Most bytes of documents and uploads one user may keep. Unset: no limit.",
    )
    tenant_quota_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Most bytes of documents and uploads all users of a tenant may keep together. Unset: no limit.",
    )
    max_body_bytes: int = Field(
        default=4 * MEBIBYTE, ge=1024, description="Largest JSON body, in bytes."
    )
    max_open_requests: int = Field(
        default=2000,
        ge=1,
        description="Requests served at once, and half as many sockets; over it the answer is 503 with Retry-After.",
    )
    max_running_responses: int = Field(
        default=1000,
        ge=1,
        description="Answers made at once by a process; over it, and a tenth for tenants that have few, it is 503.",
    )
    response_grace_seconds: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="Seconds for which a kept response that nobody watches any more goes on, if not in the background.",
    )
    search_seconds: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="The longest that a search takes, in seconds. The embedding model has half of it, then words "
        "answer alone; when they are late as well, it is 503.",
    )
    summary_model: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Model that sums long conversations up in the background, for turns that no longer fit; `same`: "
        "whichever is asked there. Unless set the oldest turns are left out.",
    )
    worker_concurrency: int = Field(
        default=4, ge=1, le=64, description="Jobs one worker process runs at once."
    )
    parser_memory_bytes: int = Field(
        default=1024 * MEBIBYTE,
        ge=256 * MEBIBYTE,
        description="Memory one file's parser may use, in bytes.",
    )
    parser_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="Seconds one file's parser may run."
    )

    @field_validator("blob_store_url")
    @classmethod
    def _names_a_bucket(cls, url: str | None) -> str | None:
        if url is not None and not _BUCKET_URL.fullmatch(url):
            raise ValueError("a blob store is named s3://BUCKET or s3://BUCKET/PREFIX")
        return url

    _names_kms_key = field_validator("kms_key_id")(check_arn)
    _names_kms_keys = field_validator("kms_other_key_ids")(check_arns)
    _names_kms = field_validator("kms_endpoint")(check_endpoint)

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(
                "s3_access_key_id and s3_secret_access_key are set together or not at all"
            )
        if self.s3_endpoint is not None and self.blob_store_url is None:
            raise ValueError("s3_endpoint is set without blob_store_url")
        if self.migration_url is not None and self.database_url is None:
            raise ValueError("migration_url is set without database_url")
        return self

    @model_validator(mode="after")
    def _names_the_key_that_wraps(self) -> Self:
        if self.kms_key_id is None:
            if self.key_provider == "aws_kms":
                raise ValueError("key_provider is aws_kms without kms_key_id")
            if self.kms_other_key_ids or self.kms_endpoint is not None:
                raise ValueError("kms_other_key_ids and kms_endpoint go with kms_key_id")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then ``undercroft.toml``; no dotenv and no secrets folder."""
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, config_file())
        return (init_settings, env_settings, toml)

    @property
    def blobs_dir(self) -> Path:
        """Folder of the documents' encrypted bytes."""
        return self.data_dir / "blobs"

    @property
    def staging_dir(self) -> Path:
        """Folder of uploads that are being received; on the file system of the blobs."""
        return self.data_dir / "staging"

    @property
    def outbox_dir(self) -> Path:
        """Folder of the mail that no server takes."""
        return self.data_dir / "outbox"

    @property
    def key_path(self) -> Path:
        """The key file."""
        return self.key_file or self.data_dir / "keys" / "provider.key"


def config_file() -> Path:
    """Where the optional configuration file is looked for."""
    return Path(os.environ.get(CONFIG_VARIABLE, "undercroft.toml"))


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - pydantic checks each
    """Read and check every setting.

    Args:
        **overrides: Values from the command line, which win over all others.

    Raises:
        SettingsError: Naming each setting that is unknown or wrong, and where it came from.
    """
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith("UNDERCROFT_")
        and not name.startswith("UNDERCROFT_TEST_")
        and name not in _OTHER_VARIABLES
        and name.removeprefix("UNDERCROFT_").lower() not in Settings.model_fields
    )
    if unknown:
        raise SettingsError(
            f"Unknown setting: {', '.join(unknown)}. See docs/settings.md for the names."
        )
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"Wrong setting: {problems}.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config_file()} is not valid TOML: {error}.") from None
