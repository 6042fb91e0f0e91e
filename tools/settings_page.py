"""Writes ``docs/settings.md`` from the fields of ``kit/settings.py``: ``python tools/settings_page.py``.

A test compares the page with what this would write, so that it is never out of date.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, cast, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import AnyHttpUrl, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from undercroft.kit.model_server_settings import UpstreamSettings
from undercroft.kit.settings import (
    CONFIG_VARIABLE,
    MEBIBYTE,
    PostgresUrl,
    Settings,
)

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

_SECTIONS: Final[dict[str, Sequence[str]]] = {
    "Files and logs": ("data_dir", "models_dir", "log_level", "log_format"),
    "Who keeps the key that wraps all others": (
        "key_provider",
        "key_file",
        "kms_key_id",
        "kms_other_key_ids",
        "kms_endpoint",
    ),
    "Where documents' bytes are kept": (
        "blob_store_url",
        "s3_endpoint",
        "s3_region",
        "s3_access_key_id",
        "s3_secret_access_key",
    ),
    "Ledger": ("ledger_origin",),
    "Listening": ("host", "port", "allowed_hosts", "cors_origins", "trusted_proxies"),
    "Database": (
        "database_url",
        "migration_url",
        "database_pool_size",
        "database_statement_cache",
    ),
    "Language models": (
        "upstream_url",
        "upstream_key",
        "upstream_api",
        "upstream_continues",
        "upstream_sees",
        "upstreams",
        "default_model",
        "local_model_threads",
        "local_model_queue",
    ),
    "Embedding model": (
        "embedding_url",
        "embedding_key",
        "embedding_model",
        "embedding_dimensions",
        "embedding_threads",
        "incoming_embedding_model",
        "incoming_embedding_url",
        "incoming_embedding_key",
        "incoming_embedding_dimensions",
    ),
    "Vector index": ("qdrant_url", "qdrant_key", "qdrant_seconds"),
    "Reranking": (
        "reranker_url",
        "reranker_key",
        "reranker_model",
        "reranker_api",
        "reranker_location",
        "reranker_dir",
        "reranker_seconds",
    ),
    "Mail": (
        "mail_from",
        "smtp_host",
        "smtp_port",
        "smtp_security",
        "smtp_username",
        "smtp_password",
    ),
    "Signing in": (
        "access_token_minutes",
        "session_idle_days",
        "session_days",
        "password_checks",
        "address_issuers",
        "fixed_audiences",
    ),
    "Webhooks": (
        "egress_private_networks",
        "tool_private_networks",
        "egress_allow_http",
        "egress_hosts",
    ),
    "Limits": (
        "max_upload_bytes",
        "document_retention_days",
        "user_quota_bytes",
        "tenant_quota_bytes",
        "max_body_bytes",
        "max_open_requests",
        "max_running_responses",
        "response_grace_seconds",
        "summary_model",
        "worker_concurrency",
        "parser_memory_bytes",
        "parser_seconds",
    ),
}
_MACHINES_OWN: Final = {
    "models_dir": "`share/undercroft/models` in the Python environment",
}
"""Defaults that differ between machines, in words."""
_UPSTREAM_MEANINGS: Final = {
    "name": "Short name, for logs and error messages; each one once.",
    "url": "Base URL, with `/v1`.",
    "key": "API key, sent to this server alone.",
    "api": "What the server speaks: OpenAI's chat completions, or Anthropic's messages.",
    "location": "Whether the server is the operator's own (`local`) or somebody else's (`external`).",
    "continues": "Whether it goes on with an answer whose beginning it is given (`continue_final_message`, as vLLM and "
    "SGLang do); not with Anthropic's API.",
    "sees": "Whether its models take pictures (`input_image`): others are sent none.",
}
_ROW_HEAD: Final = ("| Setting | Value | Default | Meaning |", "| --- | --- | --- | --- |")

_INTRODUCTION: Final = f"""\
# Settings

<!-- Written by tools/settings_page.py. Change kit/settings.py, then run it again. -->

A setting comes from the first of these that has it: the command line (`--host`, `--port`, `--data-dir`), the
environment, `undercroft.toml`, the default. The file is looked for in the working folder; `{CONFIG_VARIABLE}` names
another. In the environment a setting `port` is called `UNDERCROFT_PORT`.

An unknown setting, or one with a wrong value, stops the start and is named; the value is not shown.

Two variables are not settings of the service: `UNDERCROFT_API_URL` and `UNDERCROFT_API_KEY` tell `undercroft ingest`
which service to call, with which key.
"""

_EXAMPLE: Final = """\
## An example

`undercroft.toml` with three model servers. When a server cannot be reached, fails, is overloaded or limits the rate
before its answer has begun, the next one in the list that offers the same model is asked; afterwards the next one that
`continues`, for the rest of the text. The built-in models come after all of them.

```toml
data_dir = "/var/lib/undercroft/data"
host = "0.0.0.0"
allowed_hosts = ["documents.example.org"]
trusted_proxies = ["10.0.0.0/8"]

default_model = "llama-3.3-70b"

[[upstreams]]
name = "rack-one"
url = "http://10.0.7.11:8000/v1"
location = "local"

[[upstreams]]
name = "rack-two"
url = "http://10.0.7.12:8000/v1"
location = "local"
continues = true

[[upstreams]]
name = "hosted"
url = "https://models.example.net/v1"
key = "replace-me"
location = "external"
```

The file holds keys: give it mode 0600. `upstream_url` and `upstream_key` are the short form for one server; they and
`[[upstreams]]` exclude each other.
"""


def render_page() -> str:
    """The whole page.

    Raises:
        ValueError: When a setting is in no section, or a section names none.
    """
    listed = [name for names in _SECTIONS.values() for name in names]
    if sorted(listed) != sorted(Settings.model_fields):
        strays = sorted(set(listed) ^ set(Settings.model_fields))
        raise ValueError(f"these settings are in no section, or are gone: {', '.join(strays)}")
    sections = [_section(title, names) for title, names in _SECTIONS.items()]
    return "\n".join([_INTRODUCTION, *sections, _upstream_section(), _EXAMPLE])


def _section(title: str, names: Sequence[str]) -> str:
    rows = [_row(name, Settings.model_fields[name]) for name in names]
    return "\n".join([f"## {title}", "", *_ROW_HEAD, *rows, ""])


def _upstream_section() -> str:
    rows = [
        _row(name, field, _UPSTREAM_MEANINGS[name])
        for name, field in UpstreamSettings.model_fields.items()
    ]
    head = "A table `[[upstreams]]` of `undercroft.toml` is one model server:"
    return "\n".join(["## Model servers", "", head, "", *_ROW_HEAD, *rows, ""])


def _row(name: str, field: FieldInfo, meaning: str | None = None) -> str:
    cells = (f"`{name}`", _value(field), _default(name, field), meaning or field.description or "")
    return f"| {' | '.join(cells)} |"


def _value(field: FieldInfo) -> str:
    """Which values are taken, in words."""
    if PostgresUrl in get_args(field.annotation):
        return "`postgresql` URL"
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not NoneType]
    words = ", ".join(_kind(kind) for kind in kinds)
    least = next((str(item.ge) for item in field.metadata if isinstance(item, Ge)), None)
    most = next((str(item.le) for item in field.metadata if isinstance(item, Le)), None)
    if least is not None and most is not None:
        return f"{words}, {least} to {most}"
    return words if least is None else f"{words}, at least {least}"


def _alternatives(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - a type, or a special form of typing
    if get_origin(annotation) is None or get_origin(annotation) in {tuple, Literal}:
        yield annotation
        return
    for argument in get_args(annotation):
        yield from _alternatives(argument)


def _kind(kind: Any) -> str:  # noqa: ANN401 - as above
    if get_origin(kind) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(kind))
    if get_origin(kind) is tuple:
        return "tables" if get_args(kind)[0] is UpstreamSettings else "list"
    names: dict[Any, str] = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "`true` or `false`",
        Path: "folder",
        SecretStr: "secret",
        AnyHttpUrl: "`http` or `https` URL",
    }
    return names[kind]


def _default(name: str, field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "none; required"
    if name in _MACHINES_OWN:
        return _MACHINES_OWN[name]
    if default in {None, ()}:
        return "unset" if default is None else "empty"
    if isinstance(default, tuple):
        return f"`{','.join(cast('tuple[str, ...]', default))}`"
    if isinstance(default, int) and default >= MEBIBYTE and default % MEBIBYTE == 0:
        return f"`{default}` ({default // MEBIBYTE} MiB)"
    return f"`{default}`"


def main() -> int:
    """Write the page; returns the exit status."""
    PAGE.write_text(render_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
