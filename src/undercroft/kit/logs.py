"""Structured logs: one JSON object a line on standard error, with secrets redacted whoever logs them."""

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_REDACTED: Final = "[redacted]"
_SECRET_FIELDS: Final = re.compile(
    r"(password|secret|token|authorization|api_?key|cookie|credential)", re.IGNORECASE
)
# Our own keys, bearer headers, and the passwords of URLs: what could reach a log inside a longer text.
_SECRET_TEXT: Final = (
    re.compile(r"uk_[0-9a-z]{8}_[0-9A-Za-z_-]{20,}"),
    # Access tokens, refresh tokens, codes from mails, share links, verification links.
    re.compile(r"u[trclv]_[0-9A-Za-z_-]{40,}"),
    # What webhooks are signed with.
    re.compile(r"whsec_[0-9A-Za-z+/]{32,}={0,2}"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"\bsk-[0-9A-Za-z_-]{16,}"),
)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace secrets in every field of a log event, nested ones included."""
    return {name: _redact_field(name, value) for name, value in event.items()}


def _redact_field(name: str, value: object) -> object:
    if _SECRET_FIELDS.search(name) and not isinstance(value, int | float | bool):
        return _REDACTED
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        return {str(key): _redact_field(str(key), item) for key, item in mapping.items()}
    if isinstance(value, list | tuple):
        return [_redact_field(name, item) for item in cast("Sequence[object]", value)]
    if isinstance(value, str):
        for pattern in _SECRET_TEXT:
            value = pattern.sub(_REDACTED, value)
    return value


def configure_logging(
    level: Literal["debug", "info", "warning", "error"], style: Literal["json", "console"]
) -> None:
    """Send structlog and the standard library's loggers through one redacting pipeline.

    Called once by each process, before anything logs.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Access logs are our own middleware's work: uvicorn's would print query strings.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
    # What a client sends wrong is told to the client, and of what it sends nothing belongs in a log.
    logging.getLogger("mcp").setLevel(logging.ERROR)
