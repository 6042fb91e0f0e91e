"""Signatures: as Amazon publishes them, and as Amazon's own library makes them. moto checks none."""

import json
import random
import string
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.servers.aws import ACCESS_KEY, PYTHON, ROOT, SECRET_KEY, needs_moto
from undercroft.kit.crypto.providers.aws_signature import (
    AwsCredentials,
    AwsCredentialsError,
    sign_post,
)

NOON = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


def test_it_is_that_of_the_published_test_suite() -> None:
    """``post-vanilla`` of https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html."""
    headers = sign_post(
        {"Host": "example.amazonaws.com"},
        b"",
        AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        region="us-east-1",
        service="service",
        time=NOON,
    )
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    )


def requests(count: int) -> list[dict[str, Any]]:
    """Such as a key provider sends, and odder ones."""
    chance = random.Random(7)

    def text(alphabet: str, most: int) -> str:
        return "".join(chance.choices(alphabet, k=chance.randint(1, most)))

    return [
        {
            "access": text(string.ascii_uppercase + string.digits, 24),
            "secret": text(string.ascii_letters + string.digits + "/+=", 60),
            "token": chance.choice([None, text(string.ascii_letters + "/+=", 400)]),
            "region": chance.choice(["us-east-1", "eu-central-1", "cn-north-1"]),
            "service": "kms",
            "time": (NOON + timedelta(seconds=chance.randrange(10**9))).isoformat(),
            "body": text(string.printable + "äß中", 3000),
            "headers": {
                "Accept-Encoding": "identity",
                "Content-Type": "application/x-amz-json-1.1",
                "Host": chance.choice(["kms.eu-central-1.amazonaws.com", "localhost:4566"]),
                "X-Amz-Target": text(string.ascii_letters + " .", 40).strip() or "A",
            },
        }
        for _ in range(count)
    ]


@needs_moto
def test_they_are_those_of_amazons_library() -> None:
    made = requests(60)
    program = ROOT / "tests" / "servers" / "sign_program.py"
    done = subprocess.run(
        [PYTHON, program],
        input=json.dumps(made),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for case, theirs in zip(made, json.loads(done.stdout), strict=True):
        ours = sign_post(
            case["headers"],
            case["body"].encode(),
            AwsCredentials(case["access"], case["secret"], case["token"]),
            region=case["region"],
            service=case["service"],
            time=datetime.fromisoformat(case["time"]),
        )
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
            assert ours.get(name) == theirs.get(name)


def test_credentials_are_taken_from_the_environment() -> None:
    environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    credentials = AwsCredentials.from_environment(environment)
    assert credentials == AwsCredentials(ACCESS_KEY, SECRET_KEY)
    temporary = AwsCredentials.from_environment({**environment, "AWS_SESSION_TOKEN": "token"})
    assert temporary.session_token == "token"
    assert SECRET_KEY not in repr(temporary)
    assert "token'" not in repr(temporary)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("value", ["", f"{SECRET_KEY}\n", "two words"])
def test_what_is_missing_or_malformed_is_named_and_not_quoted(name: str, value: str) -> None:
    environment = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B", name: value}
    with pytest.raises(AwsCredentialsError, match=name) as caught:
        AwsCredentials.from_environment(environment)
    assert not value or value not in str(caught.value)
