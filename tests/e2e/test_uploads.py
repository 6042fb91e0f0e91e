"""The unmodified `openai` SDK uploads in parts, over a restart of the service; quotas as a client sees them."""

import hashlib
import random
from collections.abc import Generator
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from openai import OpenAI

from tests.e2e.conftest import Service, make_key, start_service, stop_service

CONTENT = random.Random(1).randbytes(300_000).hex().encode()


def test_the_sdk_uploads_a_file_in_parts(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_bytes(CONTENT)
    with service.client() as client:
        upload = client.uploads.upload_file_chunked(
            file=path,
            mime_type="text/plain",
            purpose="user_data",
            part_size=100_000,
            md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
        )
        assert (upload.object, upload.status, upload.bytes) == ("upload", "completed", 600_000)
        assert upload.expires_at - upload.created_at == 3600
        assert upload.file is not None
        assert client.files.retrieve(upload.file.id) == upload.file
        assert client.files.content(upload.file.id).content == CONTENT


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process, url = start_service(data_dir)
    try:
        key = make_key(data_dir, "main", "main@example.org")
        with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            upload = client.uploads.create(
                bytes=len(CONTENT),
                filename="numbers.txt",
                mime_type="text/plain",
                purpose="user_data",
            )
            first = client.uploads.parts.create(upload.id, data=CONTENT[:400_000])
        process.kill()
        process.wait()
        process, url = start_service(data_dir)
        with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            second = client.uploads.parts.create(upload.id, data=CONTENT[400_000:])
            done = client.uploads.complete(upload.id, part_ids=[first.id, second.id])
            assert done.file is not None
            assert client.files.content(done.file.id).content == CONTENT
    finally:
        stop_service(process)


def test_what_is_wrong_is_said(service: Service) -> None:
    with service.client() as client:
        upload = client.uploads.create(
            bytes=3, filename="a.txt", mime_type="text/plain", purpose="user_data"
        )
        part = client.uploads.parts.create(upload.id, data=b"ab")
        with pytest.raises(openai.BadRequestError) as refused:
            client.uploads.complete(upload.id, part_ids=[part.id])
        assert (refused.value.code, refused.value.param) == ("size_mismatch", "part_ids")
        assert client.uploads.cancel(upload.id).status == "cancelled"
        with pytest.raises(openai.BadRequestError) as refused:
            client.uploads.parts.create(upload.id, data=b"c")
        assert refused.value.code == "upload_closed"
        with pytest.raises(openai.APIStatusError) as too_large:
            client.uploads.create(
                bytes=3_000_000, filename="a.txt", mime_type="text/plain", purpose="user_data"
            )
        assert too_large.value.status_code == 413
        with pytest.raises(openai.NotFoundError):
            client.uploads.parts.create("upload_" + 32 * "0", data=b"c")


def pour(size: int) -> Generator[bytes]:
    """A form with a file, as a body that does not say how long it is."""
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    for _ in range(size >> 16):
        yield bytes(1 << 16)
    yield b"\r\n--x--\r\n"


def test_a_full_quota_is_told_before_the_body_is_sent(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process, url = start_service(
        data_dir,
        {"UNDERCROFT_USER_QUOTA_BYTES": "500000", "UNDERCROFT_MAX_UPLOAD_BYTES": "2000000"},
    )
    try:
        headers = {"Authorization": f"Bearer {make_key(data_dir, 'main', 'main@example.org')}"}
        form = {"purpose": (None, "user_data"), "file": ("a.txt", CONTENT[:400_000])}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            assert client.post("/v1/files", files=form).status_code == 200
            refused = client.post("/v1/files", files={**form, "file": ("b.txt", CONTENT)})
            assert refused.status_code == 413
            assert refused.json()["error"]["code"] == "quota_exceeded"
            assert client.get("/v1/usage").json() == {
                "object": "usage",
                "user": {"bytes": 400_000, "quota_bytes": 500_000},
                "tenant": {"bytes": 400_000, "quota_bytes": None},
            }
            # Before it is larger than any file may be: it is not taken in first, and counted then.
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            for size in (200_000, 4_000_000):
                refused = client.post("/v1/documents", content=pour(size), headers=headers)
                assert refused.json()["error"]["code"] == "quota_exceeded"
    finally:
        stop_service(process)
    assert not list((data_dir / "staging").iterdir())
