"""Signs requests to Amazon's services: Signature Version 4, as far as their JSON protocols need it (docs/adr/0012).

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PRINTABLE: Final = re.compile(r"[!-~]*")


class AwsCredentialsError(Exception):
    """Credentials are missing or malformed; the message says which, and does not quote them."""


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Who asks. ``session_token`` goes with temporary credentials alone."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "AwsCredentials":
        """What ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_SESSION_TOKEN`` say.

        Raises:
            AwsCredentialsError: When one of the first two is missing, or one has a character that none has.
        """
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        values = [environment.get(name, "") for name in names]
        for name, value in zip(names, values, strict=True):
            if name != names[-1] and not value:
                raise AwsCredentialsError(
                    f"{name} is not set. The key provider aws_kms takes its credentials from the environment alone: "
                    "neither files nor the machine's or the container's own are looked at."
                )
            if not _PRINTABLE.fullmatch(value):
                raise AwsCredentialsError(f"{name} has a space or a line break in it.")
        return cls(values[0], values[1], values[2] or None)


def sign_post(
    headers: Mapping[str, str],
    body: bytes,
    credentials: AwsCredentials,
    *,
    region: str,
    service: str,
    time: datetime,
) -> dict[str, str]:
    """The headers of a POST to ``/`` without a query, with those that prove who sends it.

    Args:
        headers: All of them are signed; ``Host`` has to be among them.
        body: What is sent.
        credentials: Who sends it.
        region: Where the service is, such as ``eu-central-1``.
        service: The service's name in signatures, such as ``kms``.
        time: Now, in UTC. Amazon takes a signature for some minutes.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ")
    signed = {**headers, "X-Amz-Date": stamp}
    if credentials.session_token is not None:
        signed["X-Amz-Security-Token"] = credentials.session_token
    canonical = sorted((name.lower(), " ".join(value.split())) for name, value in signed.items())
    names = ";".join(name for name, _ in canonical)
    lines = [f"{name}:{value}" for name, value in canonical]
    request = "\n".join(["POST", "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = (stamp[:8], region, service, "aws4_request")
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join([_ALGORITHM, stamp, "/".join(scope), digest])
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.digest(key, text.encode(), hashlib.sha256).hex()
    signed["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{'/'.join(scope)}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return signed
