"""Takes out of what servers say the secrets that they are asked with, which some repeat. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

from undercroft.chat.tools.models import Outcome, RemoteServer, RemoteTool

_SHORTEST: Final = 8
_LONGEST_WORD: Final = 20
"""Parts of a URL that are shorter and have no digit are words that a server may well say for itself."""
_LEFT_OUT: Final = "[secret]"

_Value = TypeVar("_Value")


class Secrets:
    """What one server is asked with, as far as it may be secret: values of headers, parts of its URL."""

    def __init__(self, server: RemoteServer) -> None:
        found = {*_of_headers(server.headers), *_of_url(server.url)}
        # The longest first: it may hold others.
        self._secrets = sorted(found, key=lambda secret: (-len(secret), secret))

    def left_out(self, text: str) -> str:
        """A text without them."""
        for secret in self._secrets:
            text = text.replace(secret, _LEFT_OUT)
        return text

    def left_out_of_outcome(self, outcome: Outcome) -> Outcome:
        """What came of a call, without them."""
        output, error = outcome.output, outcome.error
        return replace(
            outcome,
            output=None if output is None else self.left_out(output),
            error=None if error is None else self.left_out(error),
        )

    def left_out_of_tools(self, tools: Sequence[RemoteTool]) -> list[RemoteTool]:
        """Descriptions, schemas and annotations without them; no tool whose name tells one: it has no other.

        Args:
            tools: Nested no deeper than is read of a server.
        """
        return [
            replace(
                tool,
                description=None if tool.description is None else self.left_out(tool.description),
                input_schema=self._left_out_of(tool.input_schema),
                annotations=self._left_out_of(tool.annotations),
            )
            for tool in tools
            if self.left_out(tool.name) == tool.name
        ]

    def _left_out_of(self, value: _Value) -> _Value:
        return cast("_Value", self._each(value)) if self._secrets else value

    def _each(self, value: object) -> object:
        if isinstance(value, str):
            return self.left_out(value)
        if isinstance(value, Mapping):
            named = cast("Mapping[str, Any]", value)
            return {self.left_out(name): self._each(each) for name, each in named.items()}
        if isinstance(value, list):
            return [self._each(each) for each in cast("list[object]", value)]
        return value


def _of_headers(headers: Mapping[str, str]) -> Iterator[str]:
    for value in headers.values():
        # Whole, and without the scheme of an ``Authorization``.
        for secret in (value, value.rpartition(" ")[2]):
            if len(secret) >= _SHORTEST:
                yield secret


def _of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        # It is asked nothing.
        return
    raw = [*parts.path.split("/"), *(pair.partition("=")[2] for pair in parts.query.split("&"))]
    # However it is encoded on its way, and by whoever repeats it.
    decoded = [*map(unquote, raw), *map(unquote_plus, raw)]
    for secret in (*raw, *decoded, *map(quote, decoded), *map(quote_plus, decoded)):
        has_digit = any(map(str.isdigit, secret))
        if len(secret) >= (_SHORTEST if has_digit else _LONGEST_WORD):
            yield secret
