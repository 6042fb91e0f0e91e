"""Signatures of Standard Webhooks 1.0.0, symmetric: https://github.com/standard-webhooks/standard-webhooks (pure)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from undercroft.kit.ids import render_id
from undercroft.notifications.models import MESSAGE_PREFIX

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what one begins with
_SECRET_BYTES: Final = 32


def make_secret(entropy: Callable[[int], bytes]) -> bytes:
    """A secret that nobody can guess: 256 random bits."""
    return entropy(_SECRET_BYTES)


def render_secret(secret: bytes) -> str:
    """A secret as receivers are given it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def render_body(event_type: str, moment: datetime, payload: Mapping[str, Any]) -> bytes:
    """What is sent: the same bytes in every attempt."""
    body = {
        "type": event_type,
        "timestamp": moment.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": dict(payload),
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def sign(
    message_id: UUID, moment: datetime, body: bytes, secrets: Sequence[bytes]
) -> dict[str, str]:
    """The headers of one attempt.

    Args:
        message_id: The same in every attempt: by it a receiver knows what it has already.
        moment: Of this attempt: a receiver refuses an old one, so that nobody can send it again later.
        body: The bytes that are sent.
        secrets: Each makes one signature.
    """
    identifier, timestamp = render_id(MESSAGE_PREFIX, message_id), str(int(moment.timestamp()))
    return {
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(
            signature(identifier, timestamp, body, secret) for secret in secrets
        ),
    }


def signature(identifier: str, timestamp: str, body: bytes, secret: bytes) -> str:
    """One signature: HMAC-SHA256 over id, time and body."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    digest = hmac.digest(secret, signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
