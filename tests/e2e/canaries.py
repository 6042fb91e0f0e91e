"""Canaries: texts with a number, one in each place that is written, and the search for them in files."""

import json
import mmap
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2 as httpx

_MEMBERS: Final = ("json", "data", "params", "files")


class Canaries:
    """Makes canaries, remembers where each was sent, and finds them.

    Attributes:
        tag: In each of them, and in nothing else.
        kept: Places whose text was taken: ``POST /v1/search query``.
        made: Ids of what was made.
    """

    def __init__(self) -> None:
        self.tag = uuid4().hex[:12]
        self.made: list[str] = []
        self._count = 0
        self._places: dict[int, str] = {}
        self.kept: set[str] = set()

    def say(self) -> str:
        """The next one."""
        self._count += 1
        return f"the canary {self.tag} {self._count} sang"

    def word(self) -> str:
        """The next one, where a blank may not stand."""
        return self.say().replace(" ", "-")

    def send(
        self,
        client: httpx.Client,
        operation: str,
        at: Mapping[str, str] | None = None,
        **asked: Any,  # noqa: ANN401 - of a request
    ) -> httpx.Response:
        """Send what has to be taken, and note which of its members had canaries."""
        method, path = operation.split(" ")
        answer = client.request(method, path.format_map(at or {}), **asked)
        assert answer.is_success, (operation, answer.status_code, answer.text)
        self.kept |= self.note(operation, asked)
        if answer.headers.get("Content-Type") == "application/json":
            shown = answer.json()
            ids = (shown.get("id"), (shown.get("file") or {}).get("id"))
            self.made += [str(made) for made in ids if made is not None]
        return answer

    def note(self, operation: str, asked: Mapping[str, Any]) -> set[str]:
        """Where in a request each canary is."""
        places: set[str] = set()
        for member in _MEMBERS:
            body = asked.get(member, {})
            named = body if isinstance(body, dict) else {"body": body}
            for name, value in named.items():
                for number in self._numbers(repr(value).encode()):
                    self._places[number] = f"{operation} {name}"
                    places.add(self._places[number])
        for number in self._numbers(repr(asked).encode()):
            self._places.setdefault(number, f"{operation} body")
            places.add(self._places[number])
        return places

    def found_below(self, folder: Path) -> dict[str, set[str]]:
        """The places whose canaries are in a file below, and the files they are in."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                for number in self._numbers_in(path):
                    found[self._places.get(number, f"number {number}")].add(str(path))
        return dict(found)

    def _numbers_in(self, path: Path) -> set[int]:
        try:
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            ):
                return self._numbers(data)
        except (ValueError, FileNotFoundError):
            # Empty, or deleted since it was listed.
            return set()

    def _numbers(self, data: bytes | mmap.mmap) -> set[int]:
        """In UTF-8 and in UTF-16; a blank may be written as anything of up to three characters."""
        narrow = re.finditer(rb"canary[^0-9a-z]{1,3}" + self.tag.encode() + rb".{1,3}?(\d+)", data)
        wide = re.finditer(
            re.escape(f"canary {self.tag} ".encode("utf-16-le")) + rb"((?:\d\0)+)", data
        )
        return {int(match[1].replace(b"\0", b"")) for match in (*narrow, *wide)}


def as_json(value: object) -> str:
    """A form's field that is JSON."""
    return json.dumps(value)
