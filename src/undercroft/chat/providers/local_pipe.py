"""The parent's end of the built-in model's process: starts it, sends commands, hands its events to who waits."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import psutil

from undercroft.kit.errors import UnavailableError

Event: TypeAlias = dict[str, Any]

_MAX_EVENT_BYTES: Final = 64 * 1024
_EXIT_SECONDS: Final = 2.0


class ModelProcessDiedError(Exception):
    """The process ended while somebody waited for it."""


class ModelProcess:
    """A running child process with a loaded model; made by :meth:`launch`.

    Bounded by construction: a generation's events are as many as its tokens.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # noqa: S101 -- the type checker cannot know: both are pipes
        assert process.stdout is not None  # noqa: S101 -- the type checker cannot know: both are pipes
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._waiting: dict[int, asyncio.Queue[Event | None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self.load_seconds = 0.0

    @classmethod
    async def launch(
        cls,
        path: Path,
        *,
        context_tokens: int,
        sequences: int,
        threads: int,
        start_seconds: float,
    ) -> "ModelProcess":
        """Starts the process and waits until its model is loaded.

        Raises:
            UnavailableError: It ended, or was not ready in ``start_seconds``.
        """
        process = await asyncio.create_subprocess_exec(
            *_command(path, context_tokens, sequences, threads),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
            limit=_MAX_EVENT_BYTES,
            start_new_session=True,
        )
        launched = cls(process)
        try:
            async with asyncio.timeout(start_seconds):
                ready = await launched._read_event()
        except (TimeoutError, ValueError):
            ready = None
        # Also when it is cancelled: nobody else knows of the process.
        except BaseException:
            await launched.close()
            raise
        if ready is None:
            await launched.close()
            raise UnavailableError(
                "The built-in model could not be started. Try again, or choose another model.",
                retry_after=10,
                code="model_not_started",
            )
        launched.load_seconds = ready["load_seconds"]
        launched._reader = asyncio.create_task(launched._dispatch())
        return launched

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take commands."""
        return self._reader is not None and not self._reader.done()

    def memory_bytes(self) -> int:
        """Resident memory of the child; 0 once it has ended."""
        try:
            return psutil.Process(self.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return 0

    async def submit(self, identifier: int, command: Event) -> "asyncio.Queue[Event | None]":
        """Sends a command that is answered. Its events arrive in the queue returned; None means that the process died.

        Raises:
            ModelProcessDiedError: It had died already.
        """
        if not self.alive or self._stdin.is_closing():
            raise ModelProcessDiedError
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._waiting[identifier] = events
        try:
            self._send({**command, "id": identifier})
            await self._stdin.drain()
        except OSError as error:
            self._waiting.pop(identifier, None)
            raise ModelProcessDiedError from error
        # Also when it is cancelled: nobody will take what is generated.
        except BaseException:
            self.cancel(identifier)
            raise
        return events

    def cancel(self, identifier: int) -> None:
        """Ends a generation; does nothing when it is over."""
        if self._waiting.pop(identifier, None) is not None and not self._stdin.is_closing():
            self._send({"command": "cancel", "id": identifier})

    def kill(self) -> None:
        """Ends the process at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """Ends the process, by closing its input or, when that is not heeded, by force; waits until it is gone."""
        self._stdin.close()
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    def _send(self, command: Event) -> None:
        self._stdin.write(json.dumps(command).encode("ascii") + b"\n")

    async def _read_event(self) -> Event | None:
        """The next event, or None at the end.

        Raises:
            ValueError: A line is no event.
        """
        line = await self._stdout.readline()
        return json.loads(line) if line else None

    async def _dispatch(self) -> None:
        """Routes events until the process ends, then tells everyone who waits."""
        try:
            while (event := await self._read_event()) is not None:
                over = event["event"] in {"finished", "too_long", "counted"}
                identifier = event["id"]
                events = self._waiting.get(identifier)
                if over:
                    self._waiting.pop(identifier, None)
                if events is not None:
                    events.put_nowait(event)
        except ValueError:
            self.kill()
        finally:
            for events in self._waiting.values():
                events.put_nowait(None)
            self._waiting.clear()


def _command(path: Path, context_tokens: int, sequences: int, threads: int) -> Sequence[str]:
    return (
        sys.executable,
        "-m",
        "undercroft.chat.providers.local_process",
        str(path),
        f"--context-tokens={context_tokens}",
        f"--sequences={sequences}",
        f"--threads={threads}",
    )


def _environment() -> dict[str, str]:
    """Ours without our settings: the child needs no secret, so it is given none."""
    return {name: value for name, value in os.environ.items() if not name.startswith("UNDERCROFT_")}
