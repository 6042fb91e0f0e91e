"""Makes responses event by event, keeps them, and shows them again as far as their sources may still be read."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from itertools import chain
from typing import Final
from uuid import UUID

import structlog

from undercroft.chat.answering import Answered, Answerer, Searched
from undercroft.chat.citations import Citation
from undercroft.chat.providers.protocol import TextDelta
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.events import TERMINAL_EVENTS, ResponseEvents
from undercroft.chat.responses.models import (
    RESPONSE_PREFIX,
    ResponseRequest,
    WireObject,
)
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

REDACTED: Final = "[Removed: a document that this answer was made from can no longer be read.]"

_log = structlog.stdlib.get_logger(__name__)


class ResponseService:
    """Creates, reads and deletes responses."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        answers: Answerer,
        ids: IdSource,
        clock: Clock,
    ) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
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
            SourceErasedError: When one of its sources was erased, and the response with it.
        """
        async with self._refusing(scope, "response.read", response_id) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None:
                raise _no_response(response_id)
            if row["key_id"] is None:
                raise SourceErasedError
            await self._append(transaction, scope, "response.read", response_id, row["salt"])
        key = await self._keys.open(row)
        resource = _open_resource(key, row["tenant_id"], response_id, row["sealed_resource"])
        return resource if row["is_readable"] else _redacted(resource)

    async def delete(self, scope: Scope, response_id: UUID) -> None:
        """Delete a kept response.

        Raises:
            NotFoundError: When the principal may see no such response.
        """
        async with self._refusing(scope, "response.delete", response_id) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None or not await self._repository.delete_response(transaction, response_id):
                raise _no_response(response_id)
            # A source was erased, and the salt with it: committed to under one that is nowhere kept.
            salt = row["salt"] or self._keys.generate().salt
            await self._append(transaction, scope, "response.delete", response_id, salt)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a response, for its owner alone; None when it is gone."""
        del scope  # the transaction's own
        response_id = parse_id(RESPONSE_PREFIX, reference)
        if response_id is None:
            return None
        row = await self._repository.find_response(transaction, response_id)
        return None if row is None else row["salt"]

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
        key = self._keys.generate()
        if request.store:
            async with self._database.transaction(scope) as transaction:
                await self._keys.keep(transaction, scope, key)
                await self._repository.insert_response(
                    transaction, events.response_id, key.id, _sealed(key, scope, events)
                )
                await self._append(
                    transaction, scope, "response.create", events.response_id, key.salt
                )
        try:
            async with aclosing(self._make(scope, request, events)) as made:
                async for event in made:
                    if event["type"] in TERMINAL_EVENTS:
                        await self._keep_end(scope, request, key, events)
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            events.cancel()
            await self._finish(scope, request, key, events)
            raise
        # Whatever kept it from being kept as it ended: whoever reads it later must not find it running.
        except Exception as error:
            for _ in events.abandon(error):
                pass
            await self._finish(scope, request, key, events)
            raise

    async def _make(
        self, scope: Scope, request: ResponseRequest, events: ResponseEvents
    ) -> AsyncGenerator[WireObject]:
        searching = events.start_search() if request.question.search is not None else ()
        for event in chain(events.begin(), searching):
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
        except Exception as error:  # noqa: BLE001 - a defect or a lost database: told in the stream, which has begun
            _log.error("response_failed", exc_info=error)
            for event in events.abandon(error):
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

    async def _keep_end(
        self, scope: Scope, request: ResponseRequest, key: DataKey, events: ResponseEvents
    ) -> None:
        """A failure is told even when it cannot be kept, as when it is the database that was lost."""
        try:
            await self._finish(scope, request, key, events)
        # Of a failed answer it is the failure that its reader is told, whatever keeping it met.
        except Exception:
            if events.failure is None:
                raise
            _log.exception("response_not_kept", response_id=str(events.response_id))

    async def _finish(
        self, scope: Scope, request: ResponseRequest, key: DataKey, events: ResponseEvents
    ) -> None:
        if request.store:
            async with self._database.transaction(scope) as transaction:
                await self._repository.finish_response(
                    transaction,
                    events.response_id,
                    events.resource["status"],
                    _sealed(key, scope, events),
                )

    def _refusing(
        self, scope: Scope, action: Action, response_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        find = find_target(RESPONSE_PREFIX, response_id, self._repository.find_response_owner)
        return recording_refusal(self._database, self._ledger, scope, action, find)

    async def _append(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        response_id: UUID,
        salt: bytes,
    ) -> None:
        subject = Subject(render_id(RESPONSE_PREFIX, response_id), salt)
        await self._ledger.append(transaction, scope, Act(action, subject, scope.principal_id))


def _no_response(response_id: UUID) -> NotFoundError:
    return NotFoundError("response", render_id(RESPONSE_PREFIX, response_id))


def _place(tenant_id: UUID, response_id: UUID) -> bytes:
    return bind(tenant_id, "responses", response_id, "resource")


def _sealed(key: DataKey, scope: Scope, events: ResponseEvents) -> bytes:
    plain = json.dumps(events.resource, ensure_ascii=False, separators=(",", ":"))
    return seal(key.material, plain.encode(), _place(scope.tenant_id, events.response_id))


def _open_resource(key: DataKey, tenant_id: UUID, response_id: UUID, sealed: bytes) -> WireObject:
    resource: WireObject = json.loads(unseal(key.material, sealed, _place(tenant_id, response_id)))
    return resource


def _redacted(resource: WireObject) -> WireObject:
    output: list[WireObject] = []
    for item in resource["output"]:
        if item["type"] == "file_search_call":
            output.append({**item, "results": None})
            continue
        parts: list[WireObject] = item["content"]
        content = [{**part, "text": REDACTED, "annotations": list[WireObject]()} for part in parts]
        output.append({**item, "content": content})
    return {**resource, "output": output}
