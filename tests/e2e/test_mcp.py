"""Assistants over MCP see what their user may see at that moment, through the official SDK's own client."""

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent

from tests.e2e.api import await_entries, connect, one_with, share, upload, upload_to_search
from tests.e2e.assistants import MODES, PING, ask, assistant, read_refusal, read_result, send
from tests.e2e.conftest import Service

TENANT = "mill"
TEXT = "The miller keeps the sluice key behind the third oak beam."
QUESTION = "Where is the sluice key?"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a key and a client."""

    address: str
    key: str
    client: httpx.Client


@pytest.fixture(scope="module")
def ann(service: Service) -> Generator[Person]:
    yield from _person(service, TENANT, "ann@mill.example")


@pytest.fixture(scope="module")
def bob(service: Service) -> Generator[Person]:
    yield from _person(service, TENANT, "bob@mill.example")


@pytest.fixture(scope="module")
def stranger(service: Service) -> Generator[Person]:
    yield from _person(service, "another mill", "ann@mill.example")


def _person(service: Service, tenant: str, address: str) -> Generator[Person]:
    key = service.make_key(tenant, address)
    with connect(service.url, key) as client:
        yield Person(address, key, client)


@pytest.mark.parametrize("revision", sorted(MODES))
async def test_search_and_fetch_answer_as_connectors_expect(
    service: Service, sample_store: dict[str, Any], revision: str
) -> None:
    document = sample_store["files"]["tenancy-agreement-quay-street.pdf"]
    async with assistant(service.url, service.key, revision) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"search", "fetch"} <= set(tools)
        for tool in tools.values():
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
        assert tools["search"].input_schema["required"] == ["query"]
        assert list(tools["search"].input_schema["properties"]) == ["query"]
        assert list(tools["fetch"].input_schema["properties"]) == ["id"]

        question = "How much deposit does the tenant pay for Quay Street?"
        answer = await client.call_tool("search", {"query": question})
        found = read_result(answer)
        (content,) = answer.content
        assert isinstance(content, TextContent)
        assert json.loads(content.text) == found
        best = found["results"][0]
        assert (best["id"], best["title"]) == (document, "tenancy-agreement-quay-street.pdf")
        assert best["url"] == f"{service.url}/v1/documents/{document}"
        passage = best["passages"][0]
        assert "deposit" in passage["text"].lower()
        assert passage["page"] >= 1
        assert passage["grants"] == []

        fetched = read_result(await client.call_tool("fetch", {"id": best["id"]}))
    assert set(fetched) == {"id", "title", "text", "url", "metadata"}
    assert (fetched["id"], fetched["title"], fetched["url"]) == (
        document,
        best["title"],
        best["url"],
    )
    pieces = fetched["metadata"]["pieces"]
    with connect(service.url, service.key) as api:
        searched = api.post("/v1/search", json={"query": question}).json()["data"]
        read = api.get(f"/v1/documents/{document}/text", params={"limit": 100}).json()["data"]
    assert passage in [
        {name: value for name, value in each.items() if name != "highlights"} for each in searched
    ]
    assert fetched["text"] == "\n\n".join(piece["text"] for piece in read)
    assert [(piece["start"], piece["end"], piece["page"]) for piece in pieces] == [
        (piece["start"], piece["end"], piece["page"]) for piece in read
    ]


async def test_a_long_document_is_fetched_to_its_end(service: Service, ann: Person) -> None:
    sections = [
        f"# Section {number}\n\nThe wheel was mended in {number}.\n\n" for number in range(150)
    ]
    document = upload_to_search(ann.client, "book.md", "".join(sections))
    texts: list[str] = []
    async with assistant(service.url, ann.key) as client:
        wanted: str | None = document
        while wanted is not None:
            fetched = read_result(await client.call_tool("fetch", {"id": wanted}))
            assert fetched["id"] == wanted
            assert fetched["metadata"]["document"] == document
            texts.append(fetched["text"])
            wanted = fetched["metadata"]["next"]
    assert len(texts) == 2
    assert [f"mended in {number}." in "\n\n".join(texts) for number in range(150)] == [True] * 150


@pytest.mark.parametrize("revision", sorted(MODES))
async def test_what_is_revoked_between_search_and_fetch_is_gone(
    service: Service, ann: Person, bob: Person, revision: str
) -> None:
    document = upload_to_search(ann.client, f"key {revision}.txt", f"{TEXT} ({revision})")
    grant = share(ann.client, document, bob.address, "search", "read")
    async with assistant(service.url, bob.key, revision) as client:
        found = read_result(await client.call_tool("search", {"query": QUESTION}))
        passage = next(each for each in found["results"] if each["id"] == document)["passages"][0]
        assert passage["grants"] == [grant]
        fetched = read_result(await client.call_tool("fetch", {"id": document}))
        assert fetched["text"] == f"{TEXT} ({revision})"
        assert fetched["metadata"]["pieces"][0]["grants"] == [grant]
        assert ann.client.delete(f"/v1/grants/{grant}").status_code == 204
        code, words = read_refusal(await client.call_tool("fetch", {"id": document}))
        assert (code, words) == ("not_found", f"No file with id '{document}'.")
        found = read_result(await client.call_tool("search", {"query": QUESTION}))
        assert document not in {each["id"] for each in found["results"]}
    for action, outcome in (
        ("document.answer", "allowed"),
        ("document.read", "allowed"),
        ("document.read", "denied"),
    ):
        await_entries(ann.client, one_with(action=action, outcome=outcome), resource=document)


async def test_another_tenant_finds_and_reads_nothing(
    service: Service, ann: Person, stranger: Person
) -> None:
    document = upload_to_search(ann.client, "hidden.txt", TEXT)
    assert read_result(await ask(service.url, ann.key, "search", query=QUESTION))["results"]
    async with assistant(service.url, stranger.key) as client:
        found = read_result(await client.call_tool("search", {"query": QUESTION}))
        assert found["results"] == []
        refused = await client.call_tool("fetch", {"id": document})
        assert read_refusal(refused)[0] == "not_found"
    made_up = await ask(service.url, stranger.key, "fetch", id="file-" + "0" * 32)
    assert read_refusal(made_up)[1].replace("0" * 32, "") == read_refusal(refused)[1].replace(
        document.removeprefix("file-"), ""
    )


async def test_a_sealed_document_is_never_shown(service: Service, ann: Person) -> None:
    secret = b"The founder's will is behind the mill wheel."
    document = upload(ann.client, secret, "sealed.txt", sealed="true")
    async with assistant(service.url, ann.key) as client:
        found = read_result(await client.call_tool("search", {"query": "founder's will wheel"}))
        assert document not in {each["id"] for each in found["results"]}
        code, words = read_refusal(await client.call_tool("fetch", {"id": document}))
    assert code == "document_sealed"
    assert "founder" not in words


async def test_parts_are_all_that_is_shown_of_what_was_shared_in_parts(
    service: Service, ann: Person, bob: Person
) -> None:
    plan = "# Wheel\n\nThe wheel turns at dawn.\n\n# Vault\n\nThe vault holds the silver spindle.\n"
    document = upload_to_search(ann.client, "plan.md", plan)
    share(ann.client, document, bob.address, "search", "read_parts", parts={"sections": ["Wheel"]})
    async with assistant(service.url, bob.key) as client:
        fetched = read_result(await client.call_tool("fetch", {"id": document}))
        found = read_result(await client.call_tool("search", {"query": "silver spindle vault"}))
    assert "dawn" in fetched["text"]
    assert "spindle" not in json.dumps(fetched)
    assert "spindle" not in json.dumps(found)


async def test_what_no_outside_model_may_see_is_neither_found_nor_fetched(
    service: Service, ann: Person, bob: Person
) -> None:
    document = upload_to_search(
        ann.client, "recipe.txt", "The miller's bread has rye, honey and thyme."
    )
    question = "What is in the miller's bread?"
    for model_use in (["quote", "summarise"], ["external", "summarise"], ["quote", "external"], []):
        grant = share(ann.client, document, bob.address, "search", "read", model_use=model_use)
        searched = bob.client.post("/v1/search", json={"query": question}).json()["data"]
        assert document in {each["document"] for each in searched}
        assert bob.client.get(f"/v1/documents/{document}/text").json()["data"]
        async with assistant(service.url, bob.key) as client:
            found = read_result(await client.call_tool("search", {"query": question}))
            assert document not in {each["id"] for each in found["results"]}
            code, words = read_refusal(await client.call_tool("fetch", {"id": document}))
        assert code == "not_for_models"
        assert "recipe" not in words
        assert ann.client.delete(f"/v1/grants/{grant}").status_code == 204
    share(
        ann.client,
        document,
        bob.address,
        "search",
        "read",
        model_use=["quote", "summarise", "external"],
    )
    fetched = read_result(await ask(service.url, bob.key, "fetch", id=document))
    assert "thyme" in fetched["text"]
    denied = one_with(action="document.read", outcome="denied")
    await_entries(ann.client, denied, resource=document)


async def test_a_search_and_a_fetch_are_one_use_each(
    service: Service, ann: Person, bob: Person
) -> None:
    document = upload_to_search(
        ann.client, "ledger.txt", "The toll of the weir was four pence in 1790."
    )
    grant = share(ann.client, document, bob.address, "search", "read", max_uses=2)
    async with assistant(service.url, bob.key) as client:
        found = read_result(await client.call_tool("search", {"query": "toll of the weir"}))
        assert document in {each["id"] for each in found["results"]}
        assert ann.client.get(f"/v1/grants/{grant}").json()["uses"] == 1
        read_result(await client.call_tool("fetch", {"id": document}))
        assert ann.client.get(f"/v1/grants/{grant}").json()["uses"] == 2
        assert read_refusal(await client.call_tool("fetch", {"id": document}))[0] == "not_found"
        found = read_result(await client.call_tool("search", {"query": "toll of the weir"}))
        assert document not in {each["id"] for each in found["results"]}


async def test_a_purpose_is_stated_as_over_http(service: Service, ann: Person, bob: Person) -> None:
    document = upload_to_search(ann.client, "accounts.txt", "The mill earned nine pounds in May.")
    share(ann.client, document, bob.address, "read", purpose="audit")
    assert read_refusal(await ask(service.url, bob.key, "fetch", id=document))[0] == "not_found"
    stated = {"Undercroft-Purpose": "audit"}
    fetched = read_result(await ask(service.url, bob.key, "fetch", stated, id=document))
    assert "nine pounds" in fetched["text"]


async def test_a_narrowed_key_has_the_tools_of_its_scopes(service: Service, ann: Person) -> None:
    document = upload_to_search(ann.client, "narrow.txt", "The narrow boat lies at the lower lock.")
    me = ann.client.get("/v1/account").json()["user"]
    made = ann.client.post(f"/v1/users/{me}/keys", json={"scopes": ["documents:read"]})
    key = str(made.json()["secret"])
    async with assistant(service.url, key) as client:
        read_result(await client.call_tool("fetch", {"id": document}))
        code, words = read_refusal(await client.call_tool("search", {"query": "boat"}))
    assert code == "forbidden"
    assert "'search'" in words
    with connect(service.url, service.make_key(TENANT, "admin@mill.example", "admin")) as admin:
        denied = one_with(outcome="denied", purpose="search")
        await_entries(admin, denied, action="permission.use")


@pytest.mark.parametrize("revision", sorted(MODES))
async def test_a_token_is_looked_up_at_every_message(
    service: Service, ann: Person, revision: str
) -> None:
    me = ann.client.get("/v1/account").json()["user"]
    made = ann.client.post(f"/v1/users/{me}/keys", json={"scopes": ["search"]}).json()
    async with assistant(service.url, made["secret"], revision) as client:
        read_result(await client.call_tool("search", {"query": "key"}))
        assert ann.client.delete(f"/v1/users/{me}/keys/{made['id']}").is_success
        with pytest.raises(MCPError):
            await client.call_tool("search", {"query": "key"})
    answer = send(service.url, made["secret"], PING)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_wrong_arguments_are_refused_in_words_that_say_what_is_wrong(
    service: Service,
) -> None:
    async with assistant(service.url, service.key) as client:
        for tool, arguments, words in (
            ("search", {}, "'query' is missing"),
            ("search", {"query": ""}, "'query' should have at least 1 character"),
            ("search", {"query": "  "}, "The query is empty"),
            ("search", {"query": 5}, "'query' should be a valid string"),
            ("search", {"query": "a" * 5000}, "'query' should have at most 4096 characters"),
            ("search", {"query": "a", "limit": 5}, "'limit' is not a field that is known here"),
            ("fetch", {"id": "file-1"}, "No file with id 'file-1'"),
            ("fetch", {"id": ":"}, "'id' of a result"),
            ("fetch", {"id": "file-" + "0" * 32 + ":x"}, "the id of no piece"),
        ):
            code, said = read_refusal(await client.call_tool(tool, arguments))
            assert words in said
            assert code in {"invalid_request", "not_found"}
