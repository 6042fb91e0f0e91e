"""Calls of tools elsewhere for responses: each is permitted, counted and put on record before it is sent.

Once passages are in a prompt, whatever the model writes may repeat them, the arguments of a call too. So a tool is
called only where the tenant and every passage's grant allow it at that very instant (invariant 11). What a client
passes back itself, as earlier answers and results, may repeat passages that nobody here knows of: there the tenant
decides.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from undercroft.chat.questions import Question
from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.chat.responses.queueing import may_still_ask
from undercroft.chat.responses.work import Work
from undercroft.chat.streams.service import StreamLog
from undercroft.chat.tools.client import ToolClient, read_arguments
from undercroft.chat.tools.errors import ToolNotAllowedError, TooManyCallsError
from undercroft.chat.tools.models import (
    MOST_CALLS,
    Outcome,
    RemoteCall,
    RemoteServer,
    RemoteTool,
    ToolCaller,
)
from undercroft.chat.transcript import is_replayed
from undercroft.identity.policies import TenantPolicies
from undercroft.kit.database import DATABASE_GONE, Database, Transaction
from undercroft.kit.errors import UnavailableError
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import canonical_object
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.models import Outcome as ActOutcome
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import ModelUse, Release
from undercroft.sharing.policy import allowed_model_use
from undercroft.sharing.watching import WatchedGrants
from undercroft.sharing.ways import acts_under, join_ways

_UNTRACED: Final = (
    "answers or results that were passed back are in the prompt and may repeat documents"
)


class ResponseTools:
    """Calls tools on behalf of responses.

    Args:
        database: Where it is decided and counted.
        ledger: Where calls and refusals are put on record.
        log: Of the responses' streams.
        policies: What tenants allow.
        grants: Knows which have ended.
        client: Asks servers.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        log: StreamLog,
        policies: TenantPolicies,
        grants: WatchedGrants,
        client: ToolClient,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._log = log
        self._policies = policies
        self._grants = grants
        self._client = client

    def check(self, servers: Sequence[RemoteServer]) -> None:
        """Find out, before anything is promised, whether servers may be asked at all.

        Raises:
            InvalidRequestError: When one may not.
        """
        for server in servers:
            self._client.check(server)

    def of(self, work: Work, question: Question) -> ToolCaller:
        """What calls tools for one response."""
        items = work.request.input_items
        replayed = any(is_replayed({"type": item.kind, **item.body}) for item in items)
        asked = replace(question, is_untraced=question.is_untraced or replayed)
        return _Caller(self, self._client, work, asked)

    async def permit(
        self,
        work: Work,
        server: RemoteServer,
        call: RemoteCall,
        rests_on: Sequence[Release],
        question: Question,
    ) -> None:
        """Decide a call in the database, and have it counted and on record when this returns.

        Raises:
            ToolNotAllowedError: When it may not be; that is on record, too.
            TooManyCallsError: When as many were made for the response as may.
            LeaseLostError: When the response is another process's to make.
        """
        act = _act(work, server, call)
        async with self._database.transaction(work.scope) as transaction:
            reason = await self._find_reason(transaction, work, rests_on, question)
            if reason is None:
                if work.lease is None or not await self._log.begin_tool_call(
                    transaction, work.lease, MOST_CALLS
                ):
                    raise TooManyCallsError(MOST_CALLS)
                way = join_ways(release.way for release in rests_on)
                await self._ledger.append(
                    transaction, work.scope, *acts_under(work.scope, way, act)
                )
        if reason is not None:
            await self._ledger.append_denial(work.scope, replace(act, outcome=ActOutcome.DENIED))
            raise ToolNotAllowedError(reason)

    async def _find_reason(
        self,
        transaction: Transaction,
        work: Work,
        rests_on: Sequence[Release],
        question: Question,
    ) -> str | None:
        """Why a call may not be made, as the transaction sees it now; None: it may."""
        if not await may_still_ask(transaction, work.scope):
            return "who asked may not ask any more."
        has_documents = bool(rests_on) or question.is_confined
        if not has_documents and not question.is_untraced:
            return None
        if not await self._policies.may_use_outside_tools(transaction):
            what = "documents are in the prompt" if has_documents else _UNTRACED
            return (
                f"{what}, and the tenant does not let tools elsewhere be told of them. An admin can allow it with PUT "
                "/v1/outside-tools."
            )
        if question.is_confined or not all(map(_may_leave, rests_on)):
            return "something in the prompt was not shared for use elsewhere: a grant's 'model_use' without 'external'."
        if await self._grants.is_lost(transaction, work.scope, rests_on):
            return "a document in the prompt can no longer be read."
        return None


class _Caller:
    """Calls tools for one response."""

    def __init__(
        self, tools: ResponseTools, client: ToolClient, work: Work, question: Question
    ) -> None:
        self._tools = tools
        self._client = client
        self._work = work
        self._question = question

    async def list_tools(self, server: RemoteServer) -> Sequence[RemoteTool]:
        """As :class:`ToolCaller` has it. Nothing of a prompt is in the question, so nobody has to permit it."""
        return await self._client.list_tools(server)

    async def call(
        self, server: RemoteServer, call: RemoteCall, rests_on: Sequence[Release]
    ) -> Outcome:
        """As :class:`ToolCaller` has it."""
        arguments = read_arguments(call.arguments)
        if arguments is None:
            return Outcome(error="The arguments are no JSON object.")

        async def permit() -> None:
            try:
                await self._tools.permit(self._work, server, call, rests_on, self._question)
            except DATABASE_GONE as error:
                # As it is, it would look like the tool server's: a model must not be told that it did not answer.
                raise UnavailableError(
                    "Whether a tool may be called could not be decided; ask again."
                ) from error

        return await self._client.call(server, call.tool, arguments, permit)


def _act(work: Work, server: RemoteServer, call: RemoteCall) -> Act:
    response_id = render_id(RESPONSE_PREFIX, work.events.response_id)
    statement = {
        "arguments_sha256": sha256(call.arguments.encode()).hexdigest(),
        "host": urlsplit(server.url).netloc,
        "response": response_id,
        "tool": call.tool,
    }
    return Act(
        "response.call_tool",
        Subject(response_id, work.key.salt),
        work.scope.principal_id,
        content=sha256(canonical_object(statement)).digest(),
    )


def _may_leave(release: Release) -> bool:
    return ModelUse.EXTERNAL in allowed_model_use(release.way)
