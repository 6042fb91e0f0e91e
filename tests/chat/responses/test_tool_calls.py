"""Once passages are in a prompt, a remote tool is called only where the tenant and every grant allow it just then."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from tests.chat.responses.test_sources import RENT, id_of, service
from tests.chat.responses.test_streams import asking, lapse, read
from tests.chat.scripted import CallingModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, grants_of, share
from tests.servers.tool_server import ToolServer, running_tool_server
from tests.shelf import Shelf
from tests.stepping import PATIENCE
from undercroft.chat.providers.protocol import GenerationEvent, TextDelta, ToolCallDelta
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.responses.tool_calls import ResponseTools
from undercroft.chat.tools.client import ToolClient
from undercroft.chat.tools.models import Outcome, RemoteCall, RemoteServer
from undercroft.identity.policies import TenantPolicies
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy, EgressSettings
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.models import ModelUse, ResourceKind, Terms

POLICY = EgressPolicy.of_tools(
    EgressSettings(tool_private_networks=("127.0.0.0/8",), egress_allow_http=True)
)
FREE: Terms = replace(SEARCH, model_use=frozenset(ModelUse))
CONFINED: Terms = replace(SEARCH, model_use=frozenset({ModelUse.QUOTE, ModelUse.SUMMARISE}))


@pytest.fixture(scope="module")
def tool_server() -> Generator[ToolServer]:
    with running_tool_server() as server:
        yield server


@pytest.fixture
async def guarded() -> AsyncGenerator[aiohttp.ClientSession]:
    async with open_guarded_client(POLICY) as client:
        yield client


def says(tool: str, text: str = RENT) -> Sequence[Sequence[GenerationEvent]]:
    """A model that sends what it has read, and then says so."""
    call = ToolCallDelta(0, json.dumps({"text": text}), "call_0", f"mcp__port__{tool}")
    return [[TextDelta("I send it. "), call], [TextDelta("It is sent.")]]


def asked(server: ToolServer, *collections: UUID, tool: str = "send") -> ResponseRequest:
    remote = RemoteServer("port", server.url(), {}, frozenset({tool}), None)
    request = asking(*collections, background=True)
    return replace(request, question=replace(request.question, servers=(remote,)))


async def allow(shelf: Shelf, scope: Member, *, allows: bool = True) -> None:
    """What an admin would."""
    async with shelf.database.transaction(scope) as transaction:
        await transaction.execute(
            "UPDATE tenants SET allows_outside_tools = $1 WHERE id = current_tenant()", allows
        )


async def made(responses: ResponseService, scope: Member, request: ResponseRequest) -> Any:  # noqa: ANN401
    """A response that has ended."""
    begun = await responses.begin(scope, request)
    async with asyncio.timeout(PATIENCE):
        return await responses.wait(scope, id_of(begun))


def call_of(resource: dict[str, Any]) -> dict[str, Any]:
    (call,) = (item for item in resource["output"] if item["type"] == "mcp_call")
    return call


async def outcomes(shelf: Shelf, scope: Member) -> list[str]:
    """What the ledger has of calls of tools."""
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT outcome FROM ledger_pending WHERE action = 'response.call_tool'"
            " UNION ALL SELECT outcome FROM ledger_entries WHERE action = 'response.call_tool'"
        )
    return sorted(row["outcome"] for row in rows)


@pytest.mark.parametrize(
    ("terms", "allows", "is_sent"),
    [
        (None, False, False),
        (None, True, True),
        (FREE, False, False),
        (FREE, True, True),
        (CONFINED, True, False),
    ],
)
async def test_what_was_read_goes_to_a_tool_only_where_tenant_and_grant_allow_it(
    shelf: Shelf,
    make_scope: MakeScope,
    tool_server: ToolServer,
    guarded: aiohttp.ClientSession,
    terms: Terms | None,
    allows: bool,
    is_sent: bool,
) -> None:
    ann = await make_scope()
    bob = ann if terms is None else await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    if terms is not None:
        await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, terms)
    await allow(shelf, ann, allows=allows)
    model = CallingModel(*says("send"))
    responses = service(shelf, model, tools=ToolClient(guarded, POLICY))
    done = await made(responses, bob, asked(tool_server, collection))
    assert RENT in str(model.requests[0].messages), "the document is in the prompt"
    call = call_of(done)
    assert call["status"] == ("completed" if is_sent else "failed"), call
    assert await outcomes(shelf, bob) == ["allowed" if is_sent else "denied"]
    if not is_sent:
        assert "was not called" in call["error"]["message"]
        # Of the next thing that is called nothing comes before it: the first call never got there.
        free = service(shelf, CallingModel(*says("send", "x")), tools=ToolClient(guarded, POLICY))
        assert call_of(await made(free, bob, asked(tool_server)))["status"] == "completed"
    assert tool_server.next_call()["text"] == (RENT if is_sent else "x")


@pytest.mark.parametrize("ending", ["revoked", "forbidden"])
async def test_what_ends_between_the_question_and_the_call_stops_the_call(
    shelf: Shelf,
    make_scope: MakeScope,
    tool_server: ToolServer,
    guarded: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    grant = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, FREE)
    await allow(shelf, ann)
    permit = ResponseTools.permit

    async def late(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as it is called
        if ending == "revoked":
            await grants_of(shelf).revoke(ann, grant.id)
        else:
            await allow(shelf, ann, allows=False)
        await permit(*args, **kwargs)

    monkeypatch.setattr(ResponseTools, "permit", late)
    responses = service(shelf, CallingModel(*says("send")), tools=ToolClient(guarded, POLICY))
    begun = await responses.begin(bob, asked(tool_server, collection))
    running = responses.runs.running[id_of(begun)]
    assert running.task is not None
    async with asyncio.timeout(PATIENCE):
        await running.task
    assert call_of(running.work.events.resource)["status"] == "failed"
    assert await outcomes(shelf, bob) == ["denied"]


@pytest.mark.parametrize("failure", [ConnectionRefusedError, TimeoutError])
async def test_what_the_database_does_not_decide_is_the_services_failure_and_no_tool_servers(
    shelf: Shelf,
    make_scope: MakeScope,
    tool_server: ToolServer,
    guarded: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[Exception],
) -> None:
    ann = await make_scope()

    async def gone(*_: object) -> None:
        # As the driver has it, of a database that cannot be reached or does not answer.
        raise failure

    monkeypatch.setattr(ResponseTools, "_find_reason", gone)
    model = CallingModel(*says("send"))
    responses = service(shelf, model, tools=ToolClient(guarded, POLICY))
    with pytest.raises(UndercroftError) as failed:
        await made(responses, ann, asked(tool_server))
    assert failed.value.kind is ErrorKind.UNAVAILABLE
    assert "tool server" not in failed.value.message
    # Nobody has told the model anything of it.
    assert len(model.requests) == 1
    assert await outcomes(shelf, ann) == []


async def test_a_call_whose_process_died_is_never_made_again_and_that_is_said(
    shelf: Shelf,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
    tool_server: ToolServer,
    guarded: aiohttp.ClientSession,
) -> None:
    ann = await make_scope()
    client = ToolClient(guarded, POLICY)
    again = CallingModel(*says("hold"))
    first, second = (
        service(shelf, CallingModel(*says("hold")), tools=client),
        service(shelf, again, tools=client),
    )
    begun = await first.begin(ann, asked(tool_server, tool="hold"))
    async with asyncio.timeout(PATIENCE):
        assert (await asyncio.to_thread(tool_server.next_call))["what"] == "hold"
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, id_of(begun), -1))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    final = events[-1]["response"]
    assert (final["status"], final["error"]["code"]) == ("failed", "tool_call_interrupted")
    call = call_of(final)
    assert call["status"] == "incomplete"
    assert "not known" in call["error"]["message"]
    assert not again.requests
    await first.takeover.renew()
    await first.runs.close()


async def test_what_a_tool_answered_is_removed_with_the_document_behind_it(
    shelf: Shelf,
    make_scope: MakeScope,
    tool_server: ToolServer,
    guarded: aiohttp.ClientSession,
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    grant = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, FREE)
    await allow(shelf, ann)
    responses = service(shelf, CallingModel(*says("send")), tools=ToolClient(guarded, POLICY))
    done = await made(responses, bob, asked(tool_server, collection))
    assert tool_server.next_call()["text"] == RENT
    sent = call_of(done)["output"]
    assert sent.startswith("sent ")
    await grants_of(shelf).revoke(ann, grant.id)
    kept = await responses.get(bob, id_of(done))
    assert RENT not in str(kept)
    assert sent not in str(kept)
    assert (call_of(kept)["arguments"], call_of(kept)["name"]) == ("{}", "send")


async def test_calls_that_nobody_knows_of_are_counted_in_the_database(
    shelf: Shelf,
    make_scope: MakeScope,
    tool_server: ToolServer,
    guarded: aiohttp.ClientSession,
) -> None:
    ann = await make_scope()
    rounds = [says("weather", "x")[0]] * 40
    responses = service(shelf, CallingModel(*rounds), tools=ToolClient(guarded, POLICY))
    done = await made(responses, ann, asked(tool_server, tool="weather"))
    calls = [item for item in done["output"] if item["type"] == "mcp_call"]
    assert len(calls) == 32
    assert {tool_server.next_call()["what"] for _ in calls} == {"weather"}
    async with shelf.database.transaction(ann) as transaction:
        counted = await transaction.fetchval("SELECT tool_calls FROM response_streams")
    assert counted == 32


async def test_the_reach_of_a_call_is_that_of_its_tenant(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    assert ann.tenant_id != stranger.tenant_id
    policies = TenantPolicies(shelf.database, shelf.ledger)
    await allow(shelf, stranger)
    async with shelf.database.transaction(ann) as transaction:
        assert not await policies.may_use_outside_tools(transaction)
    async with shelf.database.transaction(stranger) as transaction:
        assert await policies.may_use_outside_tools(transaction)


def test_an_outcome_and_a_call_show_nothing_when_they_are_logged() -> None:
    assert "secret" not in repr(Outcome("secret"))
    assert "secret" not in repr(RemoteCall("port", "send", "secret"))
    assert "secret" not in repr(
        RemoteServer("port", "https://secret/", {"Authorization": "secret"})
    )
