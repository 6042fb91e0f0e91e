"""After an erasure and a scrub, not even what is readable by design is in any file."""

import io
import random
import string
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.e2e.api import connect, share
from tests.e2e.conftest import Service, make_key, start_service, stop_service
from tests.e2e.test_canary import holders


def make_word() -> str:
    """A word that no stemmer changes and no other text has."""
    return "zq" + "".join(random.choices(string.ascii_lowercase, k=14)) + "k"


def scrub(data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "undercroft", "scrub", "--data-dir", str(data_dir)],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def erase_record(http: httpx.Client, plain: str) -> None:
    """Keep a record with something in a plain field, and delete it."""
    definition = {"name": "birds", "schema": {}, "plain_fields": ["/kind"]}
    schema = http.post("/v1/schemas", json=definition).json()["id"]
    made = http.post("/v1/records", json={"schema": schema, "data": {"kind": plain}})
    path = f"/v1/records/{made.json()['id']}"
    assert http.delete(path, headers={"If-Match": made.headers["ETag"]}).is_success


@pytest.mark.slow
def test_what_was_erased_is_in_no_file_after_a_scrub(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    words = [make_word() for _ in range(5)]
    in_text, in_metadata, in_attributes, in_record, in_heading = words
    process, url = start_service(data_dir)
    try:
        key = make_key(data_dir, "scrub", "ann@example.org")
        with Service(url, data_dir, process, key).client() as client:
            text = f"# {in_heading}\n\nThe {in_text} was seen at the ford."
            file = client.files.create(
                file=("ford.md", io.BytesIO(text.encode())), purpose="user_data"
            )
            store = client.vector_stores.create(name="birds", metadata={"kind": in_metadata})
            client.vector_stores.files.create_and_poll(
                file_id=file.id, vector_store_id=store.id, attributes={"kind": in_attributes}
            )
            client.vector_stores.search(store.id, query=f"Where was the {in_text}?")
            with connect(url, key) as http:
                parts = {"sections": [in_heading]}
                share(http, file.id, "bob@example.org", "read_parts", parts=parts)
                erase_record(http, in_record)
            assert scrub(data_dir).returncode == 1, "a service runs"
            client.vector_stores.delete(store.id)
            client.files.delete(file.id)
    finally:
        stop_service(process)
    # What the scrub is for: the rows are gone, the bytes are not.
    assert all(holders(data_dir, word) for word in words)
    scrubbed = scrub(data_dir)
    assert scrubbed.returncode == 0, scrubbed.stderr
    assert [holders(data_dir, word) for word in words] == [[]] * len(words)
    process, url = start_service(data_dir)
    try:
        with Service(url, data_dir, process, key).client() as client:
            assert client.vector_stores.list().data == []
    finally:
        stop_service(process)


def test_an_external_database_is_left_to_its_administrator(tmp_path: Path) -> None:
    refused = scrub(tmp_path, UNDERCROFT_DATABASE_URL="postgresql://someone@127.0.0.1:1/none")
    assert refused.returncode == 1
    assert "VACUUM (FULL, ANALYZE)" in refused.stderr
