"""A service whose keys are kept by AWS KMS: moved there and back while it runs, and KMS failing under it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import openai
import pytest

from tests.e2e.conftest import Service, make_key, start_service, stop_service
from tests.servers.aws import ACCESS_KEY, SECRET_KEY, needs_moto
from tests.servers.kms import Kms

pytestmark = needs_moto


def run(
    data_dir: Path, settings: Mapping[str, str], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "undercroft", *arguments, "--data-dir", str(data_dir)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def environment(kms: Kms) -> dict[str, str]:
    """What a service with a key in KMS is started with."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "UNDERCROFT_KMS_KEY_ID": kms.create_key(),
        "UNDERCROFT_KMS_ENDPOINT": kms.url,
    }


def upload(client: openai.OpenAI, text: bytes) -> str:
    return client.files.create(file=("a.txt", io.BytesIO(text)), purpose="user_data").id


@pytest.mark.slow
def test_keys_move_to_kms_and_back_under_a_running_service(
    environment: dict[str, str], kms: Kms, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    key_file, put_away = data_dir / "keys" / "provider.key", tmp_path / "copy"
    in_kms = {**environment, "UNDERCROFT_KEY_PROVIDER": "aws_kms"}
    process, url = start_service(data_dir, environment)
    try:
        key = make_key(data_dir, "acme", "ann@example.org")
        with Service(url, data_dir, process, key).client() as client:
            file = upload(client, b"The mill.")
            moved = run(data_dir, in_kms, "encryption", "rotate-provider")
            assert moved.returncode == 0, moved.stderr
            assert client.files.content(file).read() == b"The mill."
    finally:
        stop_service(process)
    key_file.rename(put_away)
    process, url = start_service(data_dir, in_kms)
    try:
        with Service(url, data_dir, process, key).client() as client:
            kms.behave()
            for _ in range(20):
                assert client.files.content(file).read() == b"The mill."
            assert kms.calls().get("Encrypt") is None
            assert (
                kms.calls()["Decrypt"] <= 3
            )  # the tenant's key, and that of its log in the service and in its worker
            again = run(data_dir, in_kms, "encryption", "rotate-provider")
            assert (again.returncode, again.stdout) == (0, "")
            assert "Nothing to do" in again.stderr
            assert not key_file.exists()
            backup, restored = tmp_path / "backup.tar", tmp_path / "restored"
            for command in (
                run(data_dir, in_kms, "backup", str(backup)),
                run(restored, in_kms, "restore", str(backup)),
            ):
                assert command.returncode == 0, command.stderr
            assert not (restored / "keys").exists()
            back = run(data_dir, environment, "encryption", "rotate-provider")
            assert back.returncode == 0, back.stderr
            assert client.files.content(file).read() == b"The mill."
            assert key_file.exists()
            in_file = {**environment, "UNDERCROFT_KMS_ENDPOINT": "https://kms.invalid"}
            examined = run(data_dir, in_file, "fsck")
            assert examined.returncode == 0, examined.stdout + examined.stderr
    finally:
        stop_service(process)


@pytest.mark.slow
def test_a_kms_that_fails_under_a_service_costs_only_what_needs_it(
    environment: dict[str, str], kms: Kms, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    in_kms = {**environment, "UNDERCROFT_KEY_PROVIDER": "aws_kms"}
    process, url = start_service(data_dir, in_kms)
    try:
        ann = make_key(data_dir, "acme", "ann@example.org")
        bob = make_key(data_dir, "other", "bob@example.org")
        service = Service(url, data_dir, process, ann)
        with service.client() as client, service.client(bob) as other:
            file = upload(client, b"The mill.")
            for fault in ("denied", "throttled", "no json", "hang"):
                kms.behave(fault)
                with pytest.raises(openai.APIStatusError) as caught:
                    upload(other, b"The barn.")
                assert (caught.value.status_code, caught.value.code) == (503, "key_unavailable")
                assert int(caught.value.response.headers["Retry-After"]) > 0
                assert client.files.content(file).read() == b"The mill."
                assert upload(client, fault.encode())
            refused = run(data_dir, in_kms, "fsck")
            assert (refused.returncode, refused.stderr.count("Traceback")) == (1, 0)
            kms.behave()
    finally:
        stop_service(process)
    log = service.log()
    for secret in (SECRET_KEY, "Traceback"):
        assert secret not in log
    assert {line["event"] for line in map(json.loads, log.splitlines())} >= {"kms_failed"}
    process, url = start_service(data_dir, in_kms)
    try:
        service = Service(url, data_dir, process, ann)
        with service.client() as client, service.client(bob) as other:
            assert client.files.content(file).read() == b"The mill."
            barn = upload(other, b"The barn.")
            assert other.files.content(barn).read() == b"The barn."
            assert len(other.files.list().data) == 1
    finally:
        stop_service(process)


@pytest.mark.parametrize(
    ("settings", "fault", "said"),
    [
        ({}, "denied", "Allow kms:Encrypt and kms:Decrypt"),
        ({}, "hang", "does not answer in time. Check kms_endpoint"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "as it is", "AWS_SECRET_ACCESS_KEY is not set"),
    ],
)
def test_a_service_does_not_start_without_its_keys_and_says_why(
    environment: dict[str, str],
    kms: Kms,
    tmp_path: Path,
    settings: dict[str, str],
    fault: str,
    said: str,
) -> None:
    kms.behave(fault)
    started = run(
        tmp_path / "data",
        {**environment, "UNDERCROFT_KEY_PROVIDER": "aws_kms", **settings},
        *("serve", "--port", "0"),
    )
    assert started.returncode == 1
    assert said in started.stderr
    assert "Traceback" not in started.stderr
    assert SECRET_KEY not in started.stderr
