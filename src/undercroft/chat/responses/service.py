"""Makes responses event by event, keeps them, and shows them again as far as their sources may still be read."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from itertools import chain
from uuid import UUID

import structlog

from undercroft.chat.answering import Answered, Answerer, AnswerEvent, Searched
from undercroft.chat.citations import Citation
from undercroft.chat.providers.protocol import TextDelta, ToolCallDelta
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.events import TERMINAL_EVENTS, ResponseEvents
from undercroft.chat.responses.models import (
    RESPONSE_PREFIX,
    ResponseRequest,
    WireObject,
)
from undercroft.chat.responses.provenance import AnswerRecorder
from undercroft.chat.responses.reading import (
    SourceCheck,
    no_response,
    open_resource,
    redact,
    seal_resource,
)
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

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
        self._sources = SourceCheck(keys)
        self._recorder = AnswerRecorder(ledger)
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
        """A kept response, its content removed when one of its sources may not or no more be read by the principal.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
        """
        async with self._refusing(scope, "response.read", response_id) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None:
                raise no_response(response_id)
            if row["key_id"] is None:
                raise SourceErasedError
            is_readable = await self._sources.may_read(transaction, row)
            subject = Subject(render_id(RESPONSE_PREFIX, response_id), row["salt"])
            way = choose_way(read_ways(row["ways"]))
            act = Act("response.read", subject, row["owner_id"])
            await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
        key = await self._keys.open(row)
        resource = open_resource(key, row["tenant_id"], response_id, row["sealed_resource"])
        return resource if is_readable else redact(resource)

    async def delete(self, scope: Scope, response_id: UUID) -> None:
        """Delete a kept response.

        Raises:
            NotFoundError: When the principal may see no such response.
            NotGrantedError: When it is shared with them: it is its owner's to delete.
        """
        async with self._refusing(scope, "response.delete", response_id) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None:
                raise no_response(response_id)
            if row["owner_id"] != scope.principal_id:
                raise NotGrantedError
            if not await self._repository.delete_response(transaction, response_id):
                raise no_response(response_id)
            # A source was erased, and the salt with it: committed to under one that is nowhere kept.
            salt = row["salt"] or self._keys.generate().salt
            await self._append(transaction, scope, "response.delete", response_id, salt)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a response, for its owner alone; None when it is gone."""
        response_id = parse_id(RESPONSE_PREFIX, reference)
        if response_id is None:
            return None
        row = await self._repository.find_response(transaction, response_id)
        if row is None or row["owner_id"] != scope.principal_id:
            return None
        return row["salt"]

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
                    transaction, events.response_id, key.id, self._sealed(key, scope, events)
                )
                await self._append(
                    transaction, scope, "response.create", events.response_id, key.salt
                )
                if request.question.search is None:
                    await self._recorder.record(
                        transaction, scope, key, events.response_id, request.question.model, ()
                    )
        try:
            async with aclosing(self._make(scope, request, key, events)) as made:
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
        self, scope: Scope, request: ResponseRequest, key: DataKey, events: ResponseEvents
    ) -> AsyncGenerator[WireObject]:
        searching = events.start_search() if request.question.search is not None else ()
        for event in chain(events.begin(), searching):
            yield event
        try:
            async with aclosing(self._answers.answer(scope, request.question)) as answer:
                async for step in answer:
                    if isinstance(step, Searched):
                        await self._record(scope, request, key, events, step)
                    for event in self._events_of(events, step):
                        yield event
        except UndercroftError as error:
            for event in events.fail(error):
                yield event
        except Exception as error:  # noqa: BLE001 - a defect or a lost database: told in the stream, which has begun
            _log.error("response_failed", exc_info=error)
            for event in events.abandon(error):
                yield event

    def _events_of(self, events: ResponseEvents, step: AnswerEvent) -> list[WireObject]:
        match step:
            case Searched():
                return list(events.finish_search(step))
            case TextDelta(text):
                return list(events.add_text(text))
            case Citation():
                return list(events.cite(step))
            case ToolCallDelta():
                raise RuntimeError("a call of a function, and none was offered")
            case Answered(reason, usage):
                return list(events.complete(reason, usage, self._clock.now()))

    async def _record(
        self,
        scope: Scope,
        request: ResponseRequest,
        key: DataKey,
        events: ResponseEvents,
        searched: Searched,
    ) -> None:
        """Before a word of a passage is sent: a kept response can always be traced to its sources."""
        if request.store:
            async with self._database.transaction(scope) as transaction:
                await self._recorder.record(
                    transaction,
                    scope,
                    key,
                    events.response_id,
                    request.question.model,
                    searched.found,
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
                    self._sealed(key, scope, events),
                )

    def _sealed(self, key: DataKey, scope: Scope, events: ResponseEvents) -> bytes:
        return seal_resource(key, scope.tenant_id, events.response_id, events.resource)

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
