"""Work that is done in batches: whoever asks while one batch is being served is served with the next.

What a transaction costs beside its work (its beginning, its commit, each way to the database and back) is then paid
once for a batch. There is no timer: who is alone is served at once, and batches grow only as far as the load does. It
is how PostgreSQL gathers commits, one storey higher.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from undercroft.kit.errors import UndercroftError

Key = TypeVar("Key")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]


class Batches(Generic[Key, Item, Answer]):
    """Serves items in batches of one key, in the order in which they came, one batch of a key at a time.

    Args:
        serve: Serves a batch. Answers for each item, in their order; in its place an error that is one item's own.
            What it raises is every item's.
        largest: The most items of a batch.
    """

    def __init__(
        self,
        serve: Callable[[Key, Sequence[Item]], Awaitable[Sequence[Answer | UndercroftError]]],
        largest: int,
    ) -> None:
        self._serve = serve
        self._largest = largest
        self._queues: dict[Key, deque[_Waiting[Item, Answer]]] = {}
        # The event loop itself does not keep them.
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: Key, item: Item) -> Answer:
        """The answer for one item, once its whole batch is served.

        Raises:
            UndercroftError: When that is the answer.
        """
        waiting: _Waiting[Item, Answer] = _Waiting(item, asyncio.get_running_loop().create_future())
        if key in self._queues:
            self._queues[key].append(waiting)
        else:
            self._queues[key] = deque([waiting])
            # In a context of its own: what is bound to one request must not be said of those that come after it.
            task = asyncio.create_task(self._serve_all(key), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiting.answer

    async def _serve_all(self, key: Key) -> None:
        queue = self._queues[key]
        batch: list[_Waiting[Item, Answer]] = []
        try:
            while queue:
                taken = [queue.popleft() for _ in range(min(len(queue), self._largest))]
                # Who has left since costs nothing.
                batch = [waiting for waiting in taken if not waiting.answer.done()]
                if batch:
                    await self._serve_batch(key, batch)
        finally:
            del self._queues[key]
            # Of these there are some only where the task was cancelled.
            for waiting in (*batch, *queue):
                waiting.answer.cancel()

    async def _serve_batch(self, key: Key, batch: Sequence[_Waiting[Item, Answer]]) -> None:
        try:
            answers = await self._serve(key, [waiting.item for waiting in batch])
        # Whatever it is, it is theirs who wait: nobody awaits this task.
        except Exception as error:  # noqa: BLE001
            answers = [error] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
