"""Filters over HTTP: as the unmodified `openai` SDK sends them, and as nobody should."""

from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.e2e.api import connect
from tests.e2e.assistants import assistant, read_result
from tests.e2e.conftest import Service

QUESTION = "Which key opens the gate?"
TEXTS = {
    "iron.txt": "The gate is opened with the iron key from the pantry.",
    "brass.txt": "The gate is opened with the brass key from the cellar.",
    "copper.txt": "The gate is opened with the copper key from the attic.",
}
IRON = {"type": "eq", "key": "metal", "value": "iron"}
LATER: dict[str, Any] = {
    "type": "and",
    "filters": [
        {"type": "gte", "key": "year", "value": 2025},
        {"type": "nin", "key": "metal", "value": ["copper"]},
    ],
}


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.make_key("gatehouse", "ann@gatehouse.example")


@pytest.fixture(scope="module")
def store(service: Service, key: str) -> str:
    """A store of three documents with attributes."""
    with service.client(key) as client:
        made = client.vector_stores.create(name="keys")
        for year, (name, text) in enumerate(TEXTS.items(), 2024):
            file = client.files.create(file=(name, text.encode()), purpose="user_data")
            added = client.vector_stores.files.create_and_poll(
                file.id,
                vector_store_id=made.id,
                attributes={"metal": name.removesuffix(".txt"), "year": year},
            )
            assert added.status == "completed", added.last_error
    return made.id


@pytest.fixture(scope="module")
def ann(service: Service, key: str) -> Generator[httpx.Client]:
    with connect(service.url, key) as client:
        yield client


def test_the_sdk_searches_with_filters(service: Service, key: str, store: str) -> None:
    with service.client(key) as client:
        for filters, expected in ((IRON, "iron.txt"), (LATER, "brass.txt")):
            found = client.vector_stores.search(store, query=QUESTION, filters=filters)  # type: ignore[arg-type]
            assert [each.filename for each in found.data] == [expected]
        assert found.data[0].attributes == {"metal": "brass", "year": 2025}
        again = client.vector_stores.search(
            store,
            query=QUESTION,
            filters=LATER,  # type: ignore[arg-type]
            ranking_options={"ranker": "default-2024-11-15"},
        )
        assert [each.filename for each in again.data] == ["brass.txt"]
        with pytest.raises(openai.BadRequestError) as refused:
            client.vector_stores.search(
                store, query=QUESTION, filters={"type": "and", "filters": []}
            )
    assert refused.value.param == "filters.filters"


def test_an_answer_is_made_of_what_passes(service: Service, key: str, store: str) -> None:
    tool: Any = {"type": "file_search", "vector_store_ids": [store], "filters": LATER}
    with service.client(key) as client:
        response = client.responses.create(model="extractive", input=QUESTION, tools=[tool])
        assert "brass" in response.output_text
        assert not any(metal in response.output_text for metal in ("iron", "copper"))
        assert response.tools[0].model_dump()["filters"] == LATER
        completion = client.chat.completions.create(
            model="extractive",
            messages=[{"role": "user", "content": QUESTION}],
            tools=[tool | {"filters": IRON}],
        )
    assert "iron" in str(completion.choices[0].message.content)


def test_a_search_of_everything_is_kept_to_a_document_counted_and_sorted(
    ann: httpx.Client, store: str
) -> None:
    asked: dict[str, Any] = {"query": QUESTION, "facets": ["metal", "undercroft.media_type"]}
    sort = {"key": "year", "order": "desc"}
    found = ann.post("/v1/search", json={**asked, "filters": LATER, "sort": sort}).json()
    assert [each["filename"] for each in found["data"]] == ["brass.txt"]
    assert found["facets"] == [
        {"key": "metal", "values": [{"value": "brass", "count": 1}], "is_capped": False},
        {
            "key": "undercroft.media_type",
            "values": [{"value": "text/plain", "count": 1}],
            "is_capped": False,
        },
    ]
    answer = ann.post("/v1/search", json={"query": QUESTION, "facets": ["year"]})
    (years,) = answer.json()["facets"]
    assert sorted(each["value"] for each in years["values"]) == [2024, 2025, 2026]
    assert '"value":2024,' in answer.text, "a whole number has no fraction"
    found = ann.post("/v1/search", json={"query": QUESTION, "sort": sort}).json()
    assert [each["filename"] for each in found["data"]] == [*reversed(TEXTS)]
    within = {"type": "eq", "key": "undercroft.document", "value": found["data"][0]["document"]}
    for one in ({"filters": within}, {"documents": [within["value"]]}):
        answer = ann.post("/v1/search", json={"query": QUESTION, **one}).json()
        assert {each["filename"] for each in answer["data"]} == {"copper.txt"}
    elsewhere = {"type": "ne", "key": "undercroft.collection", "value": store}
    assert not ann.post("/v1/search", json={"query": QUESTION, "filters": elsewhere}).json()["data"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"filters": {"type": "like", "key": "a", "value": 1}}, "filters"),
        ({"filters": {"type": "gt", "key": "a", "value": True}}, "filters"),
        ({"filters": {"type": "eq", "key": "undercroft.owner", "value": "x"}}, "filters"),
        ({"facets": ["undercroft.document"]}, "facets.0"),
        ({"facets": ["a"] * 6}, "facets"),
        ({"sort": {"key": "undercroft.collection"}}, "sort.key"),
        ({"sort": {"key": ""}}, "sort.key"),
        ({"sort": {"key": "a", "order": "up"}}, "sort.order"),
    ],
)
def test_what_is_none_is_refused_by_name(
    ann: httpx.Client, body: dict[str, Any], param: str
) -> None:
    answer = ann.post("/v1/search", json={"query": QUESTION, **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("known", ["undercroft.document", "undercroft.collection"])
def test_what_a_known_key_is_good_for_is_told(ann: httpx.Client, known: str) -> None:
    answer = ann.post("/v1/search", json={"query": QUESTION, "facets": [known]})
    message = answer.json()["error"]["message"]
    assert "not known" not in message
    assert known in message
    assert "which filters compare" in message
    assert "undercroft.created_at" in message


def test_no_attribute_begins_as_what_every_document_has(ann: httpx.Client, store: str) -> None:
    file = ann.get(f"/v1/vector_stores/{store}/files").json()["data"][0]["id"]
    body = {"attributes": {"undercroft.created_at": 1}}
    answer = ann.post(f"/v1/vector_stores/{store}/files/{file}", json=body)
    assert answer.status_code == 400


async def test_an_assistant_searches_a_collection_with_filters(
    service: Service, key: str, store: str
) -> None:
    async with assistant(service.url, key) as client:
        asked = {"collection": store, "query": QUESTION, "filters": LATER}
        found = read_result(await client.call_tool("search_collection", asked))
    assert [each["title"] for each in found["results"]] == ["brass.txt"]
