"""The unmodified `openai` SDK does the main job: upload, index, search, and a streamed answer with exact citations."""

import io
from typing import Any, cast

import openai
import pytest

from tests.e2e.conftest import SAMPLES, Service

QUESTION = "How much deposit does the tenant pay for Quay Street?"


def file_search(store: dict[str, Any]) -> list[Any]:
    """The tool, as the SDK takes it."""
    return [{"type": "file_search", "vector_store_ids": [store["id"]]}]


def test_search_finds_the_page(service: Service, sample_store: dict[str, Any]) -> None:
    with service.client() as client:
        found = client.vector_stores.search(sample_store["id"], query=QUESTION, max_num_results=5)
        best = found.data[0]
    assert best.file_id == sample_store["files"]["tenancy-agreement-quay-street.pdf"]
    assert "deposit" in best.content[0].text.lower()
    assert 0 < best.score <= 1
    scores = [result.score for result in found.data]
    assert scores == sorted(scores, reverse=True)


def test_how_much_a_search_looks_at_is_the_callers_choice(
    service: Service, sample_store: dict[str, Any]
) -> None:
    with service.client() as client:
        for quality in ("fast", "balanced", "exact"):
            extra = {"quality": quality}
            found = client.vector_stores.search(
                sample_store["id"], query=QUESTION, extra_body=extra
            )
            assert "deposit" in found.data[0].content[0].text.lower()
            tools: list[Any] = [{**file_search(sample_store)[0], **extra}]
            response = client.responses.create(model="extractive", input=QUESTION, tools=tools)
            assert response.model_dump()["tools"][0]["quality"] == quality
            answer = client.post("/search", body={"query": QUESTION, **extra}, cast_to=object)
            everywhere = cast("dict[str, Any]", answer)
            assert everywhere["data"]
            assert everywhere["degraded"] == []
        with pytest.raises(openai.BadRequestError):
            client.vector_stores.search(
                sample_store["id"], query=QUESTION, extra_body={"quality": "best"}
            )


def test_an_answer_streams_in_order_and_cites_exactly(
    service: Service, sample_store: dict[str, Any]
) -> None:
    with service.client() as client:
        stream = client.responses.create(
            model="extractive", input=QUESTION, tools=file_search(sample_store), stream=True
        )
        events = [event.model_dump() for event in stream]
        text = _extracted_text(client, sample_store)
    types = [event["type"] for event in events]
    assert types[:7] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.file_search_call.in_progress",
        "response.file_search_call.searching",
        "response.file_search_call.completed",
        "response.output_item.done",
    ]
    assert types[7:9] == ["response.output_item.added", "response.content_part.added"]
    assert types[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert types.count("response.output_text.delta") > 10
    assert [event["sequence_number"] for event in events] == list(range(len(events)))

    response = events[-1]["response"]
    (part,) = response["output"][-1]["content"]
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == part["text"]
    assert response["usage"]["output_tokens"] > 0
    assert part["annotations"]
    for annotation in part["annotations"]:
        span = annotation["undercroft"]
        assert annotation["type"] == "file_citation"
        assert annotation["file_id"] in sample_store["files"].values()
        assert span["page"] >= 1
        assert span["end"] - span["start"] == len(span["quote"])
        assert span["quote"] in text[annotation["file_id"]]
        assert part["text"][: annotation["index"]].rstrip()[-1] != "["


def test_a_stored_response_is_read_again_and_deleted(
    service: Service, sample_store: dict[str, Any]
) -> None:
    with service.client() as client:
        made = client.responses.create(
            model="extractive",
            input=QUESTION,
            tools=file_search(sample_store),
            include=["file_search_call.results"],
        )
        assert made.status == "completed"
        assert "£" in made.output_text
        search_call: Any = made.output[0]
        assert search_call.type == "file_search_call"
        assert search_call.results[0].filename == "tenancy-agreement-quay-street.pdf"
        again = client.responses.retrieve(made.id)
        assert again.output_text == made.output_text
        client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)


def test_what_the_documents_do_not_say_is_refused(
    service: Service, sample_store: dict[str, Any]
) -> None:
    with service.client() as client:
        for model in ("extractive", "smollm2-135m-instruct"):
            made = client.responses.create(
                model=model,
                input="Who won the chess tournament in Reykjavik?",
                tools=file_search(sample_store),
            )
            assert made.output_text == "I could not find this in your documents."


def test_the_built_in_model_writes_and_the_service_cites(
    service: Service, sample_store: dict[str, Any]
) -> None:
    with service.client() as client:
        made = client.responses.create(
            model="smollm2-135m-instruct",
            input=QUESTION,
            tools=file_search(sample_store),
            max_output_tokens=60,
            temperature=0,
        )
        text = _extracted_text(client, sample_store)
    message: Any = made.output[-1]
    assert made.output_text
    for annotation in message.content[0].annotations:
        assert annotation.undercroft["quote"] in text[annotation.file_id]


def test_a_deleted_source_is_removed_from_stored_answers(service: Service) -> None:
    with service.client() as client:
        store = client.vector_stores.create(name="short-lived")
        content = b"The safe of the Marlow office opens with the code 7741."
        added = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=("safe.txt", io.BytesIO(content))
        )
        made = client.responses.create(
            model="extractive",
            input="Which code opens the safe of the Marlow office?",
            tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
            include=["file_search_call.results"],
        )
        assert "7741" in made.output_text
        client.files.delete(added.id)
        with pytest.raises(openai.APIStatusError) as refused:
            client.responses.retrieve(made.id)
        assert refused.value.status_code == 410
        assert "7741" not in refused.value.response.text
        found = client.vector_stores.search(store.id, query="code of the safe")
        assert found.data == []


def test_chat_completions_stream_and_cite(service: Service, sample_store: dict[str, Any]) -> None:
    with service.client() as client:
        stream = client.chat.completions.create(
            model="extractive",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"tools": file_search(sample_store)},
        )
        chunks = [chunk.model_dump() for chunk in stream]
        whole: Any = client.chat.completions.create(
            model="extractive",
            messages=[{"role": "user", "content": QUESTION}],
            extra_body={"tools": file_search(sample_store)},
        )
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert text == whole.choices[0].message.content
    assert any(delta.get("annotations") for delta in deltas)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert whole.choices[0].message.annotations


def test_embeddings_are_those_documents_are_indexed_with(service: Service) -> None:
    with service.client() as client:
        made = client.embeddings.create(
            model="all-minilm-l6-v2",
            input=[
                "A cat sits on the mat.",
                "A kitten rests on the rug.",
                "Taxes are due in April.",
            ],
        )
    first, second, third = (embedding.embedding for embedding in made.data)
    similar = sum(a * b for a, b in zip(first, second, strict=True))
    unrelated = sum(a * b for a, b in zip(first, third, strict=True))
    assert len(first) == 384
    assert similar > 0.5 > unrelated
    assert made.usage.prompt_tokens > 10


def test_models_are_listed_and_an_unknown_one_is_named(service: Service) -> None:
    with service.client() as client:
        names = {model.id for model in client.models.list()}
        assert {"extractive", "smollm2-135m-instruct", "all-minilm-l6-v2"} <= names
        with pytest.raises(openai.NotFoundError) as refused:
            client.responses.create(model="gpt-nonesuch", input="Hello")
    assert refused.value.code == "model_not_found"


def test_the_same_content_is_indexed_once(service: Service) -> None:
    with service.client() as client:
        store = client.vector_stores.create(name="twins")
        content = b"The lighthouse at Carrick Point was painted in June."
        ids = [
            client.vector_stores.files.upload_and_poll(
                vector_store_id=store.id, file=(name, io.BytesIO(content))
            ).id
            for name in ("one.txt", "two.txt")
        ]
        assert ids[0] != ids[1]
        found = client.vector_stores.search(store.id, query="lighthouse painted").data
        assert len(found) == 1
        client.files.delete(ids[0])
        found = client.vector_stores.search(store.id, query="lighthouse painted").data
        assert [result.file_id for result in found] == [ids[1]]


def test_a_file_that_cannot_be_read_fails_alone(service: Service) -> None:
    with service.client() as client:
        store = client.vector_stores.create(name="broken")
        pdf = (SAMPLES / "home" / "tenancy-agreement-quay-street.pdf").read_bytes()
        broken = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=("broken.pdf", io.BytesIO(pdf[: len(pdf) // 3]))
        )
        good = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=("good.txt", io.BytesIO(b"All is well at the mill."))
        )
    assert broken.status == "failed"
    assert broken.last_error is not None
    assert broken.last_error.code == "invalid_file"
    assert good.status == "completed"


def _extracted_text(client: openai.OpenAI, store: dict[str, Any]) -> dict[str, str]:
    """Each file's text, as the service extracted it."""
    return {
        file_id: "\n".join(
            part.text or ""
            for part in client.vector_stores.files.content(
                file_id=file_id, vector_store_id=store["id"]
            )
        )
        for file_id in store["files"].values()
    }
