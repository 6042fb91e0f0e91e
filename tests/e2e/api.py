"""The API from outside: clients, what most tests keep and share, and waits for what other processes do."""

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2 as httpx

_PATIENCE: Final = 60.0
_READY_SECONDS: Final = 150.0
Entry = dict[str, Any]


@contextmanager
def connect(url: str, key: str) -> Generator[httpx.Client]:
    """Somebody's client."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of an error."""
    return answer.status_code, answer.json()["error"]["code"]


def read_events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events in the lines of a stream."""
    for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def upload(
    client: httpx.Client,
    content: bytes = b"The gate is locked with the iron key from the pantry.",
    name: str = "gate.txt",
    **fields: str,
) -> str:
    """The id of a new document."""
    file = {"file": (name, content, "text/plain")}
    made = client.post("/v1/documents", files=file, data=fields)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def upload_to_search(client: httpx.Client, name: str, text: str) -> str:
    """The id of a new document that can be searched."""
    document = upload(client, text.encode(), name)
    stored = client.post("/v1/vector_stores", json={"file_ids": [document]})
    assert stored.is_success, stored.text
    deadline = time.monotonic() + _PATIENCE
    while client.get(f"/v1/documents/{document}").json()["index_status"] != "indexed":
        assert time.monotonic() < deadline, "the document is not indexed"
        time.sleep(0.1)  # another process indexes; only it knows when
    return document


def share(client: httpx.Client, resource: str, user: str, *actions: str, **terms: Any) -> str:  # noqa: ANN401 - a body
    """The id of a new grant to somebody."""
    body = {"resource": resource, "grantee": {"user": user}, "actions": list(actions), **terms}
    made = client.post("/v1/grants", json=body)
    assert made.status_code == 201, made.text
    grant = str(made.json()["id"])
    assert made.headers["Location"] == f"/v1/grants/{grant}"
    return grant


def await_entries(
    client: httpx.Client, are_enough: Callable[[list[Entry]], bool] = bool, **asked: str
) -> list[Entry]:
    """What somebody's audit has of what is asked for, once that is enough: any entry, unless told otherwise."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        answer = client.get("/v1/audit", params={"limit": "100", **asked})
        assert answer.is_success, answer.text
        entries: list[Entry] = answer.json()["data"]
        if are_enough(entries):
            return entries
        assert time.monotonic() < deadline, f"not enough is in the audit: {entries}"
        time.sleep(0.1)  # another process numbers entries; only it knows when


def one_with(**fields: str) -> Callable[[list[Entry]], bool]:
    """Whether one of the entries has all of these fields."""
    return lambda entries: any(fields.items() <= entry.items() for entry in entries)


def await_readiness(url: str, status: int = 200) -> None:
    """Until a service says that it is ready, or that it is not."""
    deadline = time.monotonic() + _READY_SECONDS
    while httpx.get(f"{url}/readyz", timeout=60).status_code != status:
        assert time.monotonic() < deadline, f"{url} does not become {status}"
        time.sleep(0.05)  # another process's state can only be asked for
