"""Makes responses event by event, keeps them, and shows them again as far as their sources may still be read."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from uuid import UUID

from undercroft.chat.answering import Answered, Answerer, Searched
from undercroft.chat.citations import Citation
from undercroft.chat.providers.protocol import TextDelta
from undercroft.chat.responses.events import TERMINAL_EVENTS, ResponseEvents
from undercroft.chat.responses.models import (
    RESPONSE_PREFIX,
    ResponseRequest,
    StoredResponse,
    WireObject,
)
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Scope
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, render_id

REDACTED: Final = "[Removed: a document that this answer was made from can no longer be read.]"


class ResponseService:
    """Creates, reads and deletes responses."""

    def __init__(self, database: Database, answers: Answerer, ids: IdSource, clock: Clock) -> None:
        self._database = database
        self._answers = answers
        self._ids = ids
        self._clock = clock
        self._repository = ResponseRepository()

    async def stream(self, scope: Scope, request: ResponseRequest) -> AsyncGenerator[WireObject]:
        """The events of a new response. Closing the generator cancels it; what was made is kept.

        After the first event an error is an event too, and the stream ends with ``response.failed``.

        Raises:
            UndercroftError: Before the first event, when the model or a collection cannot be used.
        """
        events = await self._begin(scope, request)
        async with aclosing(self._run(scope, request, events)) as made:
            async for event in made:
                yield event

    async def create(self, scope: Scope, request: ResponseRequest) -> WireObject:
        """A whole response at once.

        Raises:
            UndercroftError: When it failed; the kept response says so too.
        """
        events = await self._begin(scope, request)
        async with aclosing(self._run(scope, request, events)) as made:
            async for _ in made:
                pass
        if events.failure is not None:
            raise events.failure
        return events.resource

    async def get(self, scope: Scope, response_id: UUID) -> WireObject:
        """A kept response, its content removed when one of its sources can no longer be read.

        Raises:
            NotFoundError: When the principal may see no such response.
        """
        async with self._database.transaction(scope) as transaction:
            stored = await self._repository.find_response(transaction, response_id)
        if stored is None:
            raise NotFoundError("response", render_id(RESPONSE_PREFIX, response_id))
        return stored.resource if stored.is_readable else _redacted(stored)

    async def delete(self, scope: Scope, response_id: UUID) -> None:
        """Delete a kept response.

        Raises:
            NotFoundError: When the principal may see no such response.
        """
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.delete_response(transaction, response_id):
                raise NotFoundError("response", render_id(RESPONSE_PREFIX, response_id))

    async def _begin(self, scope: Scope, request: ResponseRequest) -> ResponseEvents:
        await self._answers.check(scope, request.question)
        return ResponseEvents(
            self._ids.new(),
            self._clock.now(),
            request.echo,
            self._ids,
            include_results=request.include_results,
        )

    async def _run(
        self, scope: Scope, request: ResponseRequest, events: ResponseEvents
    ) -> AsyncGenerator[WireObject]:
        """Make the response and keep it: its beginning before the first event is seen, its end before the last."""
        if request.store:
            async with self._database.transaction(scope) as transaction:
                await self._repository.insert_response(
                    transaction, events.response_id, events.resource
                )
        try:
            async with aclosing(self._make(scope, request, events)) as made:
                async for event in made:
                    if event["type"] in TERMINAL_EVENTS:
                        await self._finish(scope, request, events)
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            events.cancel()
            await self._finish(scope, request, events)
            raise
        except Exception:
            # A defect or a lost database: whoever reads the response later must not find it running.
            events.abandon()
            await self._finish(scope, request, events)
            raise

    async def _make(
        self, scope: Scope, request: ResponseRequest, events: ResponseEvents
    ) -> AsyncGenerator[WireObject]:
        for event in events.begin():
            yield event
        if request.question.search is not None:
            for event in events.start_search():
                yield event
        try:
            async with aclosing(self._answers.answer(scope, request.question)) as answer:
                async for step in answer:
                    if isinstance(step, Searched):
                        await self._record(scope, request, events, step)
                    for event in self._events_of(events, step):
                        yield event
        except UndercroftError as error:
            for event in events.fail(error):
                yield event

    def _events_of(
        self, events: ResponseEvents, step: Searched | TextDelta | Citation | Answered
    ) -> list[WireObject]:
        match step:
            case Searched():
                return list(events.finish_search(step))
            case TextDelta(text):
                return list(events.add_text(text))
            case Citation():
                return list(events.cite(step))
            case Answered(reason, usage):
                return list(events.complete(reason, usage, self._clock.now()))

    async def _record(
        self, scope: Scope, request: ResponseRequest, events: ResponseEvents, searched: Searched
    ) -> None:
        """Before a word of a passage is sent: a kept response can always be traced to its sources."""
        if request.store:
            async with self._database.transaction(scope) as transaction:
                await self._repository.insert_passages(
                    transaction, events.response_id, searched.found
                )

    async def _finish(self, scope: Scope, request: ResponseRequest, events: ResponseEvents) -> None:
        if request.store:
            async with self._database.transaction(scope) as transaction:
                await self._repository.finish_response(
                    transaction, events.response_id, events.resource["status"], events.resource
                )


def _redacted(stored: StoredResponse) -> WireObject:
    output: list[WireObject] = []
    for item in stored.resource["output"]:
        if item["type"] == "file_search_call":
            output.append({**item, "results": None})
            continue
        parts: list[WireObject] = item["content"]
        content = [{**part, "text": REDACTED, "annotations": list[WireObject]()} for part in parts]
        output.append({**item, "content": content})
    return {**stored.resource, "output": output}
