"""The child process that runs the built-in model: ``python -m undercroft.chat.providers.local_process``.

It speaks newline-delimited JSON: commands on standard input, events on what was standard output. It holds no secret
and opens no connection. It ends when its input does, so a parent that was killed leaves nothing behind.

Commands: ``{"command": "generate", "id", "messages": [[role, content], ...], "max_output_tokens", "temperature",
"top_p", "stop", "seed"}``, ``{"command": "count", "id", "texts"}`` and ``{"command": "cancel", "id"}``. Events, all but
the first with an ``id``: ``ready`` (``load_seconds``), ``progress``, ``text`` (``text``), ``finished`` (``reason``,
``input_tokens``, ``output_tokens``, ``output_seconds``), ``too_long`` (``tokens``), ``counted`` (``tokens``, of each
text). Commands are obeyed in their order.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeAlias

from undercroft.chat.providers.local_engine import Engine, Generation, PromptTooLongError, Sampling
from undercroft.chat.providers.protocol import Message, Role

Command: TypeAlias = dict[str, Any]
Emit: TypeAlias = Callable[[dict[str, object]], None]


@dataclass(frozen=True, slots=True)
class _Running:
    identifier: int
    generation: Generation


class Turns:
    """Runs the open generations in turn, one token or one piece of prompt each, obeying commands in between.

    Args:
        engine: The loaded model.
        inbox: Commands, in order.
        emit: Sends one event to the parent; called on this thread only.
    """

    def __init__(self, engine: Engine, inbox: "SimpleQueue[Command]", emit: Emit) -> None:
        self._engine = engine
        self._inbox = inbox
        self._emit = emit
        self._running: deque[_Running] = deque()

    def run(self) -> None:
        """Works for ever; the process ends when its input does."""
        while True:
            self._obey_commands()
            current = self._running.popleft()
            if self._advance(current):
                self._running.append(current)
            else:
                current.generation.close()

    def _obey_commands(self) -> None:
        """Obeys what has arrived; waits for a command only while there is nothing else to do."""
        while True:
            try:
                command = self._inbox.get(block=not self._running)
            except Empty:
                return
            if command["command"] == "generate":
                self._open(command)
            elif command["command"] == "count":
                tokens = [self._engine.count(text) for text in command["texts"]]
                self._emit({"event": "counted", "id": command["id"], "tokens": tokens})
            else:
                self._cancel(command["id"])

    def _open(self, command: Command) -> None:
        identifier: int = command["id"]
        try:
            generation = self._engine.open(
                [Message(Role(role), content) for role, content in command["messages"]],
                sampling=Sampling(command["temperature"], command["top_p"], command["seed"]),
                max_output_tokens=command["max_output_tokens"],
                stop=command["stop"],
                prefix=command["prefix"],
            )
        except PromptTooLongError as error:
            self._emit({"event": "too_long", "id": identifier, "tokens": error.tokens})
            return
        self._running.append(_Running(identifier, generation))

    def _cancel(self, identifier: int) -> None:
        for running in self._running:
            if running.identifier == identifier:
                self._running.remove(running)
                running.generation.close()
                return

    def _advance(self, running: _Running) -> bool:
        """Gives a generation its turn; whether it wants another."""
        turn = running.generation.turn()
        event: dict[str, object] = {"event": "progress", "id": running.identifier}
        if turn.text:
            event |= {"event": "text", "text": turn.text}
        self._emit(event)
        if turn.finished is None:
            return True
        self._emit(
            {
                "event": "finished",
                "id": running.identifier,
                "reason": turn.finished.value,
                "input_tokens": running.generation.input_tokens,
                "output_tokens": running.generation.output_tokens,
                "output_seconds": running.generation.output_seconds,
            }
        )
        return False


def read_commands(source: IO[bytes], inbox: "SimpleQueue[Command]") -> None:
    """Puts each line of the parent's into the inbox, and ends the process when there are no more."""
    for line in source:
        inbox.put(json.loads(line))
    # The model's thread may be deep in a computation and has nothing to save.
    os._exit(0)


def take_standard_output() -> IO[str]:
    """Standard output as a private file; what prints to it from now on, C code included, goes to standard error."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "w", encoding="ascii")


def main() -> None:
    """Loads the model, says ``ready`` and serves."""
    # Ctrl-C is the parent's to handle; it closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parser = argparse.ArgumentParser(
        description="Runs a GGUF model for the service that started it."
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--context-tokens", type=int, required=True)
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    events = take_standard_output()

    def emit(event: dict[str, object]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    inbox: SimpleQueue[Command] = SimpleQueue()
    threading.Thread(target=read_commands, args=(sys.stdin.buffer, inbox), daemon=True).start()
    began = time.perf_counter()
    engine = Engine(
        options.path,
        context_tokens=options.context_tokens,
        sequences=options.sequences,
        threads=options.threads,
    )
    emit({"event": "ready", "load_seconds": time.perf_counter() - began})
    try:
        Turns(engine, inbox, emit).run()
    except BrokenPipeError:
        os._exit(0)  # The parent is gone, and with it whoever wanted the text.


if __name__ == "__main__":
    main()
