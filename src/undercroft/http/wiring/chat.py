"""What answers, and what keeps answers going."""

from functools import partial
from typing import Final

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.chats.service import ChatService
from undercroft.chat.conversations.searching.service import ConversationSearch
from undercroft.chat.conversations.service import ConversationService
from undercroft.chat.file_texts import MOST_CHARACTERS, FileTexts
from undercroft.chat.providers.configured import open_models
from undercroft.chat.responses.provenance import ProvenanceService
from undercroft.chat.responses.room import RunLimits
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.responses.takeover import RENEW_SECONDS, TAKE_OVER_SECONDS
from undercroft.chat.streams.notices import CHANNEL, hear
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.tools.client import ToolClient
from undercroft.http.services import ChatServices
from undercroft.http.wiring.foundation import Foundation, open_pool
from undercroft.identity.policies import TenantPolicies
from undercroft.jobs.rounds import Rounds
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.listening import Listener
from undercroft.kit.tasks import run_until_closed
from undercroft.ledger.reading import LedgerReader
from undercroft.metering.service import Metering
from undercroft.retrieval.parsing.sandbox import ParserSandbox, SandboxLimits
from undercroft.retrieval.search.service import SearchService
from undercroft.sharing.watching import WatchedGrants

_STREAM_POOL: Final = 2
_ATTEND_SECONDS: Final = 2.0
_GIVEN_SECONDS: Final = 30.0
"""The longest that one file of a request is read for: somebody waits for it."""


async def open_chat(
    base: Foundation,
    search: SearchService,
    watched_grants: WatchedGrants,
    metering: Metering,
    policies: TenantPolicies,
    ledger_reader: LedgerReader,
) -> ChatServices:
    """All of it, until the foundation closes."""
    database, keys, ledger, settings = base.database, base.keys, base.ledger, base.settings
    models = open_models(settings, base.client, base.clock)
    base.stack.push_async_callback(models.close)
    answers = Answerer(search, models, watched_grants)
    process = await _open_streams(base)
    responses = ResponseService(
        database,
        keys,
        ledger,
        answers,
        base.ids,
        base.clock,
        watched_grants,
        process,
        metering,
        RunLimits(settings.response_grace_seconds, settings.max_running_responses),
        policies,
        await _open_tools(base),
        settings.summary_model,
    )
    _run_streams(base, process, responses)
    conversations = ConversationService(database, keys, ledger, base.ids)
    return ChatServices(
        models=models,
        answers=answers,
        file_texts=_open_file_texts(base),
        responses=responses,
        conversations=conversations,
        conversation_search=ConversationSearch(database, keys, ledger),
        chats=ChatService(database, keys, ledger, conversations),
        provenance=ProvenanceService(database, keys, ledger, ledger_reader),
    )


async def _open_streams(base: Foundation) -> StreamProcess:
    """What writes events."""
    # A pool of its own: an event must not wait behind requests for a connection.
    database = await open_pool(
        base.stack, base.settings, base.database_url, base.clock, _STREAM_POOL
    )
    return StreamProcess.over(database, base.ids)


def _run_streams(base: Foundation, process: StreamProcess, responses: ResponseService) -> None:
    """Keep this process's streams, and take over those of others."""
    runs, watching, takeover = responses.runs, responses.watching, responses.takeover
    base.stack.push_async_callback(runs.close)
    listener = Listener(
        base.database_url,
        CHANNEL,
        partial(hear, process.id, hearer=responses),
        partial(process.live.moved, None),
    )
    run_until_closed(base.stack, listener.run())
    for rounds in (
        Rounds("renew_leases", takeover.renew, RENEW_SECONDS),
        Rounds("take_over", takeover.take_over, TAKE_OVER_SECONDS),
        Rounds("take_turns", runs.queue.look, _ATTEND_SECONDS),
        Rounds("attend_streams", watching.attend, _ATTEND_SECONDS),
    ):
        run_until_closed(base.stack, rounds.run())


async def _open_tools(base: Foundation) -> ToolClient:
    """What asks servers of tools: guarded, as tenants name them."""
    egress = EgressPolicy.of_tools(base.settings)
    return ToolClient(await base.stack.enter_async_context(open_guarded_client(egress)), egress)


def _open_file_texts(base: Foundation) -> FileTexts:
    """What reads files that come with requests. Its process begins with the first of them."""
    sandbox = ParserSandbox(
        SandboxLimits(
            memory_bytes=base.settings.parser_memory_bytes,
            seconds=min(base.settings.parser_seconds, _GIVEN_SECONDS),
            max_characters=MOST_CHARACTERS,
        )
    )
    base.stack.push_async_exit(sandbox)
    return FileTexts(sandbox)
