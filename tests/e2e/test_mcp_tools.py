"""The other tools at /mcp: what the user may see of documents, collections and records, and no more of it."""

import json
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import connect, share, upload_to_search
from tests.e2e.assistants import ask, assistant, read_refusal, read_result
from tests.e2e.conftest import Service
from tests.e2e.test_oauth import API_KEY, GRANT, make_service_key

TENANT = "granary"
BOB = "bob@granary.example"
PLAN = "# Wheel\n\nThe wheel turns at dawn.\n\n# Vault\n\nThe vault holds the silver spindle.\n"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "bins": {"type": "integer"}},
}


@pytest.fixture(scope="module")
def keys(service: Service) -> dict[str, str]:
    return {
        "ann": service.make_key(TENANT, "ann@granary.example"),
        "bob": service.make_key(TENANT, BOB),
    }


@pytest.fixture(scope="module")
def ann(service: Service, keys: dict[str, str]) -> Generator[httpx.Client]:
    with connect(service.url, keys["ann"]) as client:
        yield client


def make_record(client: httpx.Client, **data: object) -> dict[str, Any]:
    schema = client.post(
        "/v1/schemas", json={"name": "bins", "schema": SCHEMA, "plain_fields": ["/name"]}
    )
    assert schema.status_code == 201, schema.text
    made = client.post("/v1/records", json={"schema": schema.json()["id"], "data": data})
    assert made.status_code == 201, made.text
    shown: dict[str, Any] = made.json()
    return shown


async def test_documents_are_listed_described_and_read_by_section_and_page(
    service: Service, keys: dict[str, str], ann: httpx.Client, sample_store: dict[str, Any]
) -> None:
    document = upload_to_search(ann, "plan.md", PLAN)
    async with assistant(service.url, keys["ann"]) as client:
        listed = read_result(await client.call_tool("list_documents", {"limit": 1}))
        assert [each["id"] for each in listed["data"]] == [document]
        described = read_result(await client.call_tool("get_document", {"document": document}))
        assert described["document"]["name"] == "plan.md"
        asked = {"document": document, "section": "Vault"}
        read = read_result(await client.call_tool("read_document", asked))
        assert ["spindle" in piece["text"] for piece in read["data"]] == [True]
        assert read["data"][0]["headings"] == ["Vault"]
        first = read_result(
            await client.call_tool("read_document", {"document": document, "limit": 1})
        )
        assert first["has_more"]
        rest = {"document": document, "after": first["last_id"]}
        second = read_result(await client.call_tool("read_document", rest))
        assert [piece["headings"] for piece in second["data"]] == [["Vault"]]
        nothing = read_result(
            await client.call_tool("read_document", {"document": document, "page": 1})
        )
        assert nothing["data"] == []
    pdf = sample_store["files"]["tenancy-agreement-quay-street.pdf"]
    async with assistant(service.url, service.key) as client:
        everything = read_result(
            await client.call_tool("read_document", {"document": pdf, "limit": 100})
        )["data"]
        asked = {"document": pdf, "page": 2, "limit": 100}
        on_page = read_result(await client.call_tool("read_document", asked))["data"]
    assert on_page == [piece for piece in everything if piece["page"] <= 2 <= piece["page_end"]]
    assert 0 < len(on_page) < len(everything)


async def test_a_section_that_is_not_shared_is_not_to_be_asked_for(
    service: Service, keys: dict[str, str], ann: httpx.Client
) -> None:
    document = upload_to_search(ann, "parts.md", PLAN)
    share(ann, document, BOB, "read_parts", parts={"sections": ["Wheel"]})
    async with assistant(service.url, keys["bob"]) as client:
        for section, texts in (("Wheel", 1), ("Vault", 0)):
            asked = {"document": document, "section": section}
            read = read_result(await client.call_tool("read_document", asked))
            assert len(read["data"]) == texts
            assert "spindle" not in json.dumps(read)
        described = read_result(await client.call_tool("get_document", {"document": document}))
    assert "metadata" not in described["document"]


async def test_collections_are_listed_and_searched(
    service: Service, keys: dict[str, str], ann: httpx.Client
) -> None:
    document = upload_to_search(ann, "barley.txt", "The barley lies in the northern bin.")
    other = upload_to_search(ann, "oats.txt", "The oats lie in the southern bin.")
    store = ann.post("/v1/vector_stores", json={"name": "Barley", "file_ids": [document]}).json()
    share(ann, store["id"], BOB, "read", "search")
    for key in keys.values():
        async with assistant(service.url, key) as client:
            listed = read_result(await client.call_tool("list_collections", {}))
            (shown,) = [each for each in listed["data"] if each["id"] == store["id"]]
            assert (shown["name"], shown["documents"]) == ("Barley", 1)
            asked = {"collection": store["id"]}
            members = read_result(await client.call_tool("list_collection_documents", asked))
            assert [each["id"] for each in members["data"]] == [document]
            asked = {"collection": store["id"], "query": "Which bin?", "limit": 5}
            found = read_result(await client.call_tool("search_collection", asked))
            assert [each["id"] for each in found["results"]] == [document]
    refused = await ask(
        service.url, keys["bob"], "search_collection", collection="vs_" + "0" * 32, query="bin"
    )
    assert read_refusal(refused)[0] == "not_found"
    assert read_refusal(await ask(service.url, keys["bob"], "fetch", id=other))[0] == "not_found"


async def test_records_are_found_and_read_as_far_as_they_are_shared(
    service: Service, keys: dict[str, str], ann: httpx.Client
) -> None:
    record = make_record(ann, name="barley", bins=7)
    asked = {"schema": record["schema"], "fields": {"/name": "barley"}}
    async with assistant(service.url, keys["ann"]) as client:
        schemas = read_result(await client.call_tool("list_schemas", {"limit": 100}))
        assert record["schema"] in {each["id"] for each in schemas["data"]}
        for tool, arguments in (
            ("list_records", {"schema": record["schema"]}),
            ("find_records", asked),
        ):
            found = read_result(await client.call_tool(tool, arguments))
            assert [each["data"] for each in found["data"]] == [{"name": "barley", "bins": 7}]
    share(ann, record["id"], BOB, "read", "search", fields=["/name"])
    async with assistant(service.url, keys["bob"]) as client:
        read = read_result(await client.call_tool("get_record", {"record": record["id"]}))
        assert (read["data"], read["fields"]) == ({"name": "barley"}, ["/name"])
        found = read_result(await client.call_tool("find_records", asked))
        assert [each["data"] for each in found["data"]] == [{"name": "barley"}]


async def test_a_record_that_no_outside_model_may_see_is_not_shown_to_one(
    service: Service, keys: dict[str, str], ann: httpx.Client
) -> None:
    record = make_record(ann, name="oats", bins=3)
    grant = share(ann, record["id"], BOB, "read", "search", model_use=["quote", "summarise"])
    with connect(service.url, keys["bob"]) as bob:
        assert bob.get(f"/v1/records/{record['id']}").json()["data"]["bins"] == 3
        listed = bob.get("/v1/records", params={"schema": record["schema"]}).json()["data"]
        assert [each["id"] for each in listed] == [record["id"]]
    async with assistant(service.url, keys["bob"]) as client:
        refused = await client.call_tool("get_record", {"record": record["id"]})
        code, words = read_refusal(refused)
        assert code == "not_for_models"
        assert "oats" not in words
        for tool, arguments in (
            ("list_records", {"schema": record["schema"]}),
            ("find_records", {"schema": record["schema"], "fields": {"/name": "oats"}}),
        ):
            assert read_result(await client.call_tool(tool, arguments))["data"] == []
        # Of two grants each shows what it lets models have, and no more.
        assert ann.delete(f"/v1/grants/{grant}").status_code == 204
        share(ann, record["id"], BOB, "read", "search", fields=["/name"])
        share(ann, record["id"], BOB, "read", fields=["/bins"], model_use=["quote"])
        read = read_result(await client.call_tool("get_record", {"record": record["id"]}))
        assert read["data"] == {"name": "oats"}


async def test_details_of_a_document_that_no_outside_model_may_see_are_not_told(
    service: Service, keys: dict[str, str], ann: httpx.Client
) -> None:
    document = upload_to_search(ann, "secret-name.txt", "The mill stands.")
    share(ann, document, BOB, "read", model_use=[])
    for tool in ("get_document", "read_document"):
        refused = await ask(service.url, keys["bob"], tool, document=document)
        code, words = read_refusal(refused)
        assert code == "not_for_models"
        assert "secret-name" not in words


async def test_whoever_holds_a_link_has_the_tools_that_it_is_good_for(
    service: Service, ann: httpx.Client
) -> None:
    document = upload_to_search(ann, "linked.txt", "The loft ladder is in the barn.")
    other = upload_to_search(ann, "other.txt", "The cellar ladder is in the barn.")
    link = ann.post("/v1/share-links", json={"resource": document, "actions": ["read", "search"]})
    with httpx.Client(base_url=service.url, timeout=60) as anybody:
        opened = anybody.post("/v1/share-links/redeem", json={"token": link.json()["token"]})
    async with assistant(service.url, opened.json()["access_token"]) as client:
        found = read_result(await client.call_tool("search", {"query": "Where is the ladder?"}))
        assert [each["id"] for each in found["results"]] == [document]
        fetched = read_result(await client.call_tool("fetch", {"id": document}))
        assert "loft" in fetched["text"]
        assert read_refusal(await client.call_tool("fetch", {"id": other}))[0] == "not_found"
        assert read_refusal(await client.call_tool("list_schemas", {}))[0] == "links_only"


@pytest.fixture
def robot_key(service: Service, keys: dict[str, str]) -> str:
    return make_service_key(service, keys["ann"], ["act_for_users", "search", "documents:read"])


async def test_a_service_that_acts_for_a_user_sees_what_they_see(
    service: Service, keys: dict[str, str], ann: httpx.Client, robot_key: str
) -> None:
    document = upload_to_search(ann, "acted.txt", "The rope is kept in the loft.")
    form = {"grant_type": GRANT, "subject_token": keys["ann"], "subject_token_type": API_KEY}
    with connect(service.url, robot_key) as robot:
        exchanged = robot.post("/v1/oauth/token", data=form)
    assert exchanged.is_success, exchanged.text
    fetched = await ask(service.url, exchanged.json()["access_token"], "fetch", id=document)
    assert "rope" in read_result(fetched)["text"]
    alone = await ask(service.url, robot_key, "fetch", id=document)
    assert read_refusal(alone)[0] == "not_found"
