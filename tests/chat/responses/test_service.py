"""A kept response is in the database before it is seen, whatever becomes of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import asyncpg
import pytest

from tests.chat.scripted import no_tools
from tests.chat.streams_process import AT_ONCE, open_process
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_service import SilentEmbedder
from tests.stepping import Gate
from undercroft.chat.answering import Answerer
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Location,
    Message,
    ModelInfo,
    Role,
    TextDelta,
    Usage,
)
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.questions import Question
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.service import ResponseService
from undercroft.identity.policies import TenantPolicies
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.errors import ErrorKind, NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, parse_id
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.ledger.service import Ledger
from undercroft.metering.service import Metering
from undercroft.retrieval.search.service import SearchService
from undercroft.sharing.watching import WatchedGrants
from undercroft.vault.keys.service import KeyRing


class ScriptedProvider:
    """A provider at the seam: says two words, then does as the request's model is called."""

    name = "scripted"
    location: Location = "local"

    def __init__(self) -> None:
        self.gate: Gate | None = None

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset()

    async def list_models(self) -> tuple[ModelInfo, ...]:
        names = ("whole", "long", "failing", "broken", "endless")
        return tuple(ModelInfo(name, "test") for name in names)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        yield TextDelta("Two ")
        if request.model == "endless":
            await asyncio.Event().wait()
        yield TextDelta("words")
        if self.gate is not None:
            await self.gate.pass_through()
        if request.model == "failing":
            raise UndercroftError("The model gave up.", kind=ErrorKind.UPSTREAM_FAILED)
        if request.model == "broken":
            raise ZeroDivisionError
        reason = FinishReason.LENGTH if request.model == "long" else FinishReason.STOP
        yield Finished(reason, Usage(3, 2))

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        del texts
        return None

    async def close(self) -> None:
        return None


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def responses(
    database: Database, tmp_path: Path, provider: ScriptedProvider
) -> ResponseService:
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())
    ledger = Ledger(database, IdSource(), SystemClock())
    registry = ModelRegistry([provider], default_model="whole")
    search = SearchService(database, keys, ledger, SilentEmbedder())
    watched = WatchedGrants(database)
    answers = Answerer(search, registry, watched)
    process = open_process(database)
    policies = TenantPolicies(database, ledger)
    return ResponseService(
        database,
        keys,
        ledger,
        answers,
        IdSource(),
        SystemClock(),
        watched,
        process,
        Metering(database, IdSource()),
        AT_ONCE,
        policies,
        no_tools(),
    )


def request(model: str, *, store: bool = True) -> ResponseRequest:
    question = Question((Message(Role.USER, "Say two words."),), model)
    return ResponseRequest(question, {"model": model}, store=store)


async def kept_status(database: Database, scope: Member) -> str | None:
    async with database.transaction(scope) as transaction:
        return await transaction.fetchval("SELECT status FROM responses")


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("whole", "completed"),
        ("long", "incomplete"),
        ("failing", "failed"),
        ("broken", "failed"),
    ],
)
async def test_begin_and_end_are_kept_before_they_are_seen(
    responses: ResponseService, database: Database, make_scope: MakeScope, model: str, status: str
) -> None:
    ann = await make_scope()
    types: list[str] = []
    async with aclosing(responses.stream(ann, request(model))) as events:
        async for event in events:
            assert event["sequence_number"] == len(types)
            types.append(event["type"])
            is_end = event["type"] == f"response.{status}"
            # What makes it may be ahead of what is seen of it, never behind.
            kept = {status} if is_end else {"in_progress", status}
            assert await kept_status(database, ann) in kept
    assert types[:2] == ["response.created", "response.in_progress"]
    assert types[-1] == f"response.{status}"
    if status == "failed":
        assert types[-2] == "error"


async def test_a_reader_who_leaves_ends_the_response(
    responses: ResponseService, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    response_id = ""
    async with aclosing(responses.stream(ann, request("endless"))) as events:
        async for event in events:
            response_id = event["response"]["id"] if "response" in event else response_id
            if event["type"] == "response.output_text.delta":
                break
    assert await kept_status(database, ann) == "cancelled"
    kept = parse_id("resp_", response_id)
    assert kept is not None
    resource = await responses.get(ann, kept)
    assert resource["output"][0]["content"][0]["text"] == "Two "


async def test_a_cancelled_request_ends_the_response(
    responses: ResponseService, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    seen = asyncio.Event()

    async def read() -> None:
        async with aclosing(responses.stream(ann, request("endless"))) as events:
            async for event in events:
                if event["type"] == "response.output_text.delta":
                    seen.set()
                    await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    await seen.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await kept_status(database, ann) == "cancelled"


async def test_a_defect_does_not_leave_a_response_running(
    responses: ResponseService, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    with pytest.raises(ZeroDivisionError):
        await responses.create(ann, request("broken"))
    assert await kept_status(database, ann) == "failed"


async def test_a_defect_in_mid_stream_is_told_without_its_cause(
    responses: ResponseService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    async with aclosing(responses.stream(ann, request("broken"))) as events:
        *_, error, last = [event async for event in events]
    assert (error["type"], error["code"]) == ("error", "internal")
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "internal")
    assert "ZeroDivision" not in str([error, last])
    assert last["response"]["output"][0]["content"][0]["text"] == "Two words"


async def test_a_failure_that_cannot_be_kept_is_told_all_the_same(
    responses: ResponseService,
    provider: ScriptedProvider,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
) -> None:
    ann = await make_scope()
    types: list[str] = []
    provider.gate = Gate()
    async with aclosing(responses.stream(ann, request("failing"))) as events:
        async for event in events:
            types.append(event["type"])
            if event["type"] == "response.output_text.delta" and not provider.gate.is_open:
                await provider.gate.wait_until_reached()
                owner = await asyncpg.connect(database_urls.migration)
                await owner.execute("REVOKE UPDATE ON responses FROM undercroft_app")
                await owner.close()
                provider.gate.open()
    assert types[-2:] == ["error", "response.failed"]


async def test_a_whole_response_raises_its_failure(
    responses: ResponseService, make_scope: MakeScope
) -> None:
    with pytest.raises(UndercroftError, match="gave up"):
        await responses.create(await make_scope(), request("failing"))


async def test_a_response_that_is_not_to_be_kept_is_not(
    responses: ResponseService, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await responses.create(ann, request("whole", store=False))
    assert made["status"] == "completed"
    assert await kept_status(database, ann) is None


async def test_a_kept_response_is_its_owners_alone(
    responses: ResponseService, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague = await make_scope(ann.tenant_id)
    made = await responses.create(ann, request("whole"))
    response_id = parse_id("resp_", made["id"])
    assert response_id is not None
    for other in (stranger, colleague):
        for attempt in (responses.get, responses.delete):
            with pytest.raises(NotFoundError):
                await attempt(other, response_id)
    assert (await responses.get(ann, response_id))["id"] == made["id"]
