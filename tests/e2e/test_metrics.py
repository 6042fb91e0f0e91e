"""What an operator can see from the first day."""

import io
import itertools
import time

import httpx2 as httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Service

Samples = dict[str, list[tuple[dict[str, str], float]]]


def scrape(service: Service) -> Samples:
    """The labels and values of each sample by name."""
    answer = httpx.get(f"{service.url}/metrics", timeout=30)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def test_waiting_jobs_are_counted(service: Service) -> None:
    with service.client() as client:
        store = client.vector_stores.create(name="queued")
        # A job that is done counts no more: go on until one is seen.
        for number in itertools.count():
            content = f"Barge {number} of {time.monotonic()} carries slate.".encode()
            file = client.files.create(file=("barge.txt", content), purpose="user_data")
            client.vector_stores.files.create(vector_store_id=store.id, file_id=file.id)
            if count(scrape(service), "undercroft_queue_depth") > 0:
                break


def count(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(value for found, value in samples.get(name, ()) if labels.items() <= found.items())


def test_requests_streams_queue_pool_and_loop_are_measured(service: Service) -> None:
    before = scrape(service)
    with service.client() as client:
        store = client.vector_stores.create(name="measured")
        file = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=("mill.txt", io.BytesIO(b"The mill grinds rye."))
        )
        stream = client.responses.create(model="extractive", input="What is ground?", stream=True)
        next(iter(stream))
        during = scrape(service)
        for _ in stream:
            pass
    after = scrape(service)

    route = {"method": "GET", "route": "/v1/vector_stores/{vector_store_id}/files/{file_id}"}
    name = "undercroft_requests_total"
    assert count(after, name, status="200", **route) > count(before, name, status="200", **route)
    times = "undercroft_request_seconds_count"
    assert count(after, times, **route) > count(before, times, **route)
    assert count(during, "undercroft_open_requests") >= 1
    assert count(after, "undercroft_open_streams") == 0
    assert "undercroft_open_streams" in during
    for histogram in ("undercroft_pool_wait_seconds_count", "undercroft_loop_lag_seconds_count"):
        assert count(after, histogram) > count(before, histogram), histogram

    labels = [found for samples in after.values() for found, _ in samples]
    values = {value for found in labels for value in found.values()}
    assert not any(file.id in value or store.id in value for value in values)
