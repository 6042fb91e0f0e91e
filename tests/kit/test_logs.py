"""What the logs look like, and that no secret gets into them by whatever way."""

import io
import json
import logging
from collections.abc import Generator
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from undercroft.kit.logs import configure_logging

_KEY = "uk_0123abcd_" + "A-z_9" * 6
_LOGGERS = ("", "uvicorn", "uvicorn.error", "uvicorn.access")


@pytest.fixture
def stream() -> Generator[io.StringIO]:
    """What a process that configured its logs writes on standard error."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    with redirect_stderr(io.StringIO()) as stream:
        configure_logging("info", "json")
        yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def _line(stream: io.StringIO) -> dict[str, object]:
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_an_event_is_one_json_object_a_line(stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r1")
    structlog.get_logger("undercroft.test").info("document.indexed", pages=3, name="a\nb")
    line = _line(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "document.indexed",
        "level": "info",
        "logger": "undercroft.test",
        "name": "a\nb",
        "pages": 3,
        "request_id": "r1",
    }


def test_the_time_of_an_event_is_in_utc(stream: io.StringIO) -> None:
    structlog.get_logger("undercroft.test").info("ready")
    written = datetime.fromisoformat(str(_line(stream)["timestamp"]))
    assert written.utcoffset() == timedelta()
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)


def test_other_libraries_go_through_the_same_pipeline(stream: io.StringIO) -> None:
    logging.getLogger("asyncpg").warning("connecting to %s", "postgresql://me:hunter2@db/x")
    line = _line(stream)
    assert line["event"] == "connecting to postgresql://[redacted]@db/x"
    assert (line["level"], line["logger"]) == ("warning", "asyncpg")


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    structlog.get_logger("undercroft.test").debug("noise")
    logging.getLogger("asyncpg").debug("noise")
    assert stream.getvalue() == ""


def test_access_logs_of_the_server_are_silent(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info("GET /?key=%s", _KEY)
    assert stream.getvalue() == ""
    logging.getLogger("uvicorn.error").info("started")
    assert _line(stream)["event"] == "started"


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"api_key": "hunter2"},
        {"Authorization": "hunter2"},
        {"set-cookie": ["hunter2"]},
        {"request": {"headers": [{"x-access-token": "hunter2"}]}},
        {"secrets": ("hunter2",)},
        {"header": "Authorization: Bearer hunter2"},
        {"url": "https://me:hunter2@example.org/v1"},
    ],
)
def test_a_secret_is_redacted_wherever_it_is(
    stream: io.StringIO, fields: dict[str, object]
) -> None:
    structlog.get_logger("undercroft.test").info("request", **fields)
    assert "hunter2" not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


@pytest.mark.parametrize(
    "secret",
    [
        _KEY,
        "ut_" + "A-z_9abc" * 5 + "xyz",
        "ur_" + "A-z_9" * 13,
        "uc_" + "A-z_9abc" * 5 + "xyz",
        "ul_" + "A-z_9abc" * 5 + "xyz",
        "whsec_" + "A+z/9abc" * 5 + "xyw=",
        "sk-" + "0123456789abcdef" * 2,
    ],
)
def test_a_key_is_redacted_within_a_text_and_a_traceback(stream: io.StringIO, secret: str) -> None:
    error = ValueError(f"refused {secret}")
    structlog.get_logger("undercroft.test").error("failed", reason=f"{secret}.", exc_info=error)
    assert secret not in stream.getvalue()
    assert "ValueError: refused [redacted]" in str(_line(stream)["exception"])


def test_a_number_that_counts_secrets_is_kept(stream: io.StringIO) -> None:
    structlog.get_logger("undercroft.test").info("usage", tokens=512, has_password=True)
    assert (_line(stream)["tokens"], _line(stream)["has_password"]) == (512, True)


@pytest.mark.usefixtures("stream")
def test_people_get_coloured_text_only_on_a_terminal() -> None:
    with redirect_stderr(io.StringIO()) as plain:
        configure_logging("info", "console")
    with redirect_stderr(_Terminal()) as terminal:
        structlog.get_logger("undercroft.test").info("ready", port=8080)
        configure_logging("info", "console")
    structlog.get_logger("undercroft.test").info("ready", port=8080)
    assert "ready" in plain.getvalue()
    assert "port=8080" in plain.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert "\x1b" in terminal.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
