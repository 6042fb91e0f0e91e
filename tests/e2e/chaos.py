"""Clients that send, leave, come back and send again while processes are killed, and what they have seen."""

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Event = dict[str, Any]

LOST = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What a client meets while processes die: no connection, half of an answer, half of a line."""
_LAST = ("response.completed", "response.failed", "response.incomplete")
_PAUSE = 0.1


class StillGoingOnError(Exception):
    """A stream ended before its response did."""


@dataclass
class Told:
    """One response, as its client came to know it.

    Attributes:
        key: Under which it was sent, as often as it took.
        words: What the model was to say.
        ids: Of the responses that the sends were answered with: one, or a request had two effects.
        seen: Every event that a watcher was shown, in its order, for each watcher.
    """

    key: str
    words: str
    ids: set[str] = field(default_factory=set[str])
    seen: list[list[Event]] = field(default_factory=list[list[Event]])


class Crowd:
    """Clients of a service that has several addresses, of which some do not answer at times.

    Args:
        session: With the credential.
        addresses: Of the processes, as they are now.
        draw: What is left to chance.
        model: Who answers.
        patience: Seconds in which each request is answered to its end.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        addresses: Callable[[], list[str]],
        draw: random.Random,
        model: str,
        patience: float,
    ) -> None:
        self._session = session
        self._addresses = addresses
        self._draw = draw
        self._model = model
        self._patience = patience

    async def send(self, told: Told, conversation: str | None) -> None:
        """Send a request until its stream has begun, and watch it to its end, leaving and coming back."""
        body = {"model": self._model, "input": told.words, "stream": True, "background": True}
        if conversation is not None:
            body["conversation"] = conversation
        seen: list[Event] = []
        told.seen.append(seen)
        headers = {"Idempotency-Key": told.key}
        async with asyncio.timeout(self._patience):
            while not seen:
                with suppress(*LOST, StillGoingOnError):
                    await self._read("POST", "/v1/responses", seen, json=body, headers=headers)
                await asyncio.sleep(0 if seen else _PAUSE)
            told.ids.add(seen[0]["response"]["id"])
            while seen[-1]["type"] not in _LAST:
                with suppress(*LOST, StillGoingOnError):
                    await self.watch(seen[0]["response"]["id"], seen)
                await asyncio.sleep(_PAUSE)

    async def watch(self, response_id: str, seen: list[Event], *, stays: bool = False) -> None:
        """Watch a response from what was seen of it on."""
        parameters = {"stream": "true"}
        if seen:
            parameters["starting_after"] = str(seen[-1]["sequence_number"])
        path = f"/v1/responses/{response_id}"
        await self._read("GET", path, seen, stays=stays, params=parameters)

    async def _read(
        self,
        method: str,
        path: str,
        seen: list[Event],
        *,
        stays: bool = False,
        **request: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        # Never for good: whoever leaves too early for ever would see nothing.
        leaves_after = None if stays else self._draw.choice((1, 5, 20, None))
        url = self._draw.choice(self._addresses())
        async with self._session.request(method, f"{url}{path}", **request) as answer:
            if answer.status >= 500 or answer.status in (409, 429):
                raise StillGoingOnError
            assert answer.status == 200, (answer.status, await answer.text())
            async for line in answer.content:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line.removeprefix(b"data: "))
                if event["type"] == "error" and "sequence_number" not in event:
                    raise StillGoingOnError
                seen.append(event)
                if event["type"] in _LAST:
                    return
                if leaves_after is not None and len(seen) >= leaves_after:
                    return
        raise StillGoingOnError
