"""OpenAI's file batches, through the unmodified SDK: put in, waited for, listed, cancelled; and what is refused."""

import io
import uuid
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types import VectorStore

from tests.e2e.api import connect, refusal
from tests.e2e.conftest import SAMPLES, Service

pytestmark = pytest.mark.usefixtures("model_server")


def keep(client: openai.OpenAI, *texts: str) -> list[str]:
    """Files, and their ids."""
    return [
        client.files.create(file=(f"{number}.txt", text.encode()), purpose="user_data").id
        for number, text in enumerate(texts)
    ]


def counted(**counts: int) -> dict[str, int]:
    """How many files there are in all, and of each status."""
    empty = dict.fromkeys(("in_progress", "completed", "failed", "cancelled"), 0)
    return {**empty, **counts, "total": sum(counts.values())}


@pytest.fixture
def client(service: Service) -> Generator[openai.OpenAI]:
    with service.client() as client:
        yield client


@pytest.fixture
def store(client: openai.OpenAI) -> VectorStore:
    return client.vector_stores.create(name="batches")


def test_files_are_uploaded_put_in_together_and_waited_for(
    client: openai.OpenAI, store: VectorStore
) -> None:
    pdf = (SAMPLES / "home" / "tenancy-agreement-quay-street.pdf").read_bytes()
    (kept,) = keep(client, "The lamp of the north pier is green.")
    batch = client.vector_stores.file_batches.upload_and_poll(
        store.id,
        files=[
            ("lamp.txt", io.BytesIO(b"The lamp of the south pier is red.")),
            ("broken.pdf", io.BytesIO(pdf[: len(pdf) // 3])),
        ],
        file_ids=[kept],
    )
    assert batch.id.startswith("vsfb_")
    assert batch.model_dump() == {
        "id": batch.id,
        "object": "vector_store.file_batch",
        "created_at": batch.created_at,
        "vector_store_id": store.id,
        "status": "completed",
        "file_counts": counted(completed=2, failed=1),
    }
    counts = client.vector_stores.retrieve(store.id).file_counts
    assert counts.model_dump() == counted(completed=2, failed=1)
    of = client.vector_stores.file_batches
    listed = list(of.list_files(batch.id, vector_store_id=store.id, limit=1, order="asc"))
    assert [file.id for file in listed] == sorted(file.id for file in listed)
    assert kept in {file.id for file in listed}
    (broken,) = of.list_files(batch.id, vector_store_id=store.id, filter="failed")
    assert broken.last_error is not None
    assert broken.last_error.code == "invalid_file"
    found = client.vector_stores.search(store.id, query="Which lamp is green?")
    assert found.data[0].file_id == kept
    raw = of.with_raw_response.retrieve(batch.id, vector_store_id=store.id)
    assert int(raw.headers["openai-poll-after-ms"]) > 0
    assert raw.parse() == of.poll(batch.id, vector_store_id=store.id) == batch


def test_each_file_has_attributes_of_its_own_or_all_have_the_same(
    client: openai.OpenAI, store: VectorStore
) -> None:
    first, second = keep(client, "One.", "Two.")
    of = client.vector_stores.file_batches
    batch = of.create_and_poll(
        store.id,
        files=[
            {"file_id": first, "attributes": {"page": 1.0}, "chunking_strategy": {"type": "auto"}},
            {"file_id": second},
        ],
    )
    listed = of.list_files(batch.id, vector_store_id=store.id)
    assert {file.id: file.attributes for file in listed} == {first: {"page": 1}, second: {}}
    again = of.create_and_poll(
        store.id,
        file_ids=[first, second],
        attributes={"kind": "note"},
        chunking_strategy={"type": "auto"},
    )
    assert (again.status, again.file_counts.completed) == ("completed", 2)
    listed = of.list_files(batch.id, vector_store_id=store.id)
    assert [file.attributes for file in listed] == [{"kind": "note"}] * 2


def test_cancelling_leaves_what_is_indexed_and_nothing_to_wait_for(
    client: openai.OpenAI, store: VectorStore
) -> None:
    files = keep(client, *(f"Page {number} of the log." for number in range(8)))
    of = client.vector_stores.file_batches
    begun = of.create(store.id, file_ids=files)
    assert (begun.file_counts.total, begun.status) == (8, "in_progress")
    told = of.cancel(begun.id, vector_store_id=store.id)
    counts = told.file_counts
    # How many of them were indexed first is the worker's; none is lost, and none is waited for.
    assert (counts.in_progress, counts.failed) == (0, 0)
    assert counts.completed + counts.cancelled == counts.total == 8
    assert told.status == ("cancelled" if counts.cancelled else "completed")
    assert of.cancel(begun.id, vector_store_id=store.id) == told
    stopped = {
        file.id for file in of.list_files(begun.id, vector_store_id=store.id, filter="cancelled")
    }
    inside = {file.id for file in client.vector_stores.files.list(store.id)}
    assert (len(stopped), stopped | inside, stopped & inside) == (
        counts.cancelled,
        set(files),
        set(),
    )
    assert of.poll(begun.id, vector_store_id=store.id) == told
    for file in files:
        assert client.files.retrieve(file).id == file


async def test_the_asynchronous_client_does_the_same(sdk: AsyncOpenAI) -> None:
    store = await sdk.vector_stores.create(name="batches")
    of = sdk.vector_stores.file_batches
    batch = await of.upload_and_poll(
        store.id,
        files=[(f"{number}.txt", f"Note {number}.".encode()) for number in range(3)],
    )
    assert (batch.status, batch.file_counts.model_dump()) == ("completed", counted(completed=3))
    listed = [file.id async for file in of.list_files(batch.id, vector_store_id=store.id, limit=2)]
    assert len(set(listed)) == 3
    assert await of.cancel(batch.id, vector_store_id=store.id) == batch
    assert await of.retrieve(batch.id, vector_store_id=store.id) == batch
    await sdk.vector_stores.delete(store.id)
    with pytest.raises(openai.NotFoundError):
        await of.retrieve(batch.id, vector_store_id=store.id)


def test_what_is_wrong_with_one_is_told_with_its_place(
    client: openai.OpenAI, store: VectorStore
) -> None:
    (kept,) = keep(client, "Kept.")
    missing, of = "file-" + "0" * 32, client.vector_stores.file_batches
    for asked, param in (
        ({"file_ids": [kept, missing]}, "file_ids.1"),
        ({"files": [{"file_id": kept}, {"file_id": missing}]}, "files.1.file_id"),
        ({"file_ids": [kept, "vs_1"]}, "file_ids.1"),
    ):
        with pytest.raises(openai.NotFoundError) as absent:
            of.create(store.id, **asked)  # type: ignore[arg-type]
        assert absent.value.param == param
    one: dict[str, Any] = {"file_id": kept}
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "file_ids"),
        ({"file_ids": [kept], "files": [one]}, "file_ids"),
        ({"file_ids": []}, "file_ids"),
        ({"files": []}, "files"),
        ({"file_ids": [kept] * 501}, "file_ids"),
        ({"files": [one] * 501}, "files"),
        ({"file_ids": [kept, kept]}, "file_ids.1"),
        ({"files": [one, one]}, "files.1.file_id"),
        ({"files": [one], "attributes": {"a": 1}}, "attributes"),
        ({"files": [one], "chunking_strategy": {"type": "auto"}}, "chunking_strategy"),
        ({"files": [one | {"filename": "a"}]}, "files.0.filename"),
        ({"files": [one | {"attributes": {"a": []}}]}, "files.0.attributes.a"),
        (
            {"file_ids": [kept], "chunking_strategy": {"type": "static", "static": {}}},
            "chunking_strategy.type",
        ),
        ({"file_ids": [kept], "metadata": {}}, "metadata"),
    ]
    for body, param in refused:
        with pytest.raises(openai.BadRequestError) as wrong:
            of.create(store.id, extra_body=body)
        assert wrong.value.param == param, body
    with pytest.raises(openai.BadRequestError) as turned_back:
        of.list_files("vsfb_" + "0" * 32, vector_store_id=store.id, before=kept)
    assert turned_back.value.param == "before"
    assert list(client.vector_stores.files.list(store.id)) == []


def test_a_batch_is_of_its_own_vector_store(client: openai.OpenAI, store: VectorStore) -> None:
    other = client.vector_stores.create(name="other")
    of = client.vector_stores.file_batches
    batch = of.create_and_poll(store.id, file_ids=keep(client, "Kept."))
    for batch_id, store_id in (
        (batch.id, other.id),
        (batch.id, "vs_" + "0" * 32),
        ("vsfb_" + "0" * 32, store.id),
        ("file-" + batch.id.removeprefix("vsfb_"), store.id),
    ):
        for ask in (of.retrieve, of.cancel, of.list_files):
            with pytest.raises(openai.NotFoundError):
                ask(batch_id, vector_store_id=store_id)


def test_with_a_key_it_is_made_and_cancelled_once(
    service: Service, client: openai.OpenAI, store: VectorStore
) -> None:
    files = keep(client, "Once.")
    path = f"/v1/vector_stores/{store.id}/file_batches"
    with connect(service.url, service.key) as ann:

        def twice(path: str, **sent: Any) -> httpx.Response:  # noqa: ANN401 - of a request
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            first, again = (ann.post(path, headers=headers, **sent) for _ in range(2))
            assert first.is_success, first.text
            assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
            other = ann.post(path, headers=headers, json={"file_ids": ["file-" + "0" * 32]})
            assert other.status_code == 422, refusal(other)
            return first

        made = twice(path, json={"file_ids": files}).json()["id"]
        assert twice(f"{path}/{made}/cancel").json()["id"] == made
