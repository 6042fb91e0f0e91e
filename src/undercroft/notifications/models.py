"""Events, endpoints and deliveries."""

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.kit.crypto.aead import bind, seal, unseal

ENDPOINT_PREFIX: Final = "webhook_"
MESSAGE_PREFIX: Final = "msg_"
DELIVERY_PREFIX: Final = "delivery_"
DELIVER_JOB: Final = "deliver_webhook"
MOST_ENDPOINTS: Final = 20
"""Of one tenant: the table has as many slots."""
MOST_WAITING: Final = 10_000
"""Deliveries that may wait for one endpoint."""


class EndpointState(StrEnum):
    """Whether an endpoint is sent anything."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    """By an admin."""
    GONE = "gone"
    """By itself: it has answered 410."""


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    """Another attempt is to come, or the first one."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """No attempt is to come."""


class LetterKind(StrEnum):
    """What a person is written to about."""

    ACCESS_ASKED = "access_asked"
    ACCESS_ANSWERED = "access_answered"
    CONSENT_ASKED = "consent_asked"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    SHARED = "shared"
    """Something was shared with a guest."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where messages go, and what they are signed with.

    Attributes:
        former_secret: The one before, for as long as both sign.
    """

    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    former_secret: bytes | None = field(default=None, repr=False)

    def seal(self, key: bytes, tenant_id: UUID, endpoint_id: UUID) -> bytes:
        """The target, encrypted and bound to its row."""
        content = {
            "url": self.url,
            "secret": base64.b64encode(self.secret).decode(),
            "former_secret": None
            if self.former_secret is None
            else base64.b64encode(self.former_secret).decode(),
        }
        return seal(key, json.dumps(content).encode(), _context(tenant_id, endpoint_id))


def open_target(key: bytes, sealed: bytes, tenant_id: UUID, endpoint_id: UUID) -> Target:
    """The target in a row.

    Raises:
        DecryptionError: When it was altered, or moved from another row.
    """
    content = json.loads(unseal(key, sealed, _context(tenant_id, endpoint_id)))
    former = content["former_secret"]
    return Target(
        content["url"],
        base64.b64decode(content["secret"]),
        None if former is None else base64.b64decode(former),
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as admins see it.

    Attributes:
        former_secret_until: Until when the secret before this one signs as well.
        revision: Goes up with each change.
    """

    id: UUID
    url: str = field(repr=False)
    event_types: tuple[str, ...]
    state: EndpointState
    former_secret_until: datetime | None
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to an endpoint, as admins see it.

    Attributes:
        last_status: The HTTP status of the latest attempt, if one came back.
        last_error: Why that attempt failed: one of our codes.
        next_attempt_at: When the next one is due.
    """

    id: UUID
    message_id: UUID
    event_type: str
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_error: str | None
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went.

    Attributes:
        status: The HTTP status, if one came back.
        error: Why it failed; None when it did not.
    """

    status: int | None
    error: str | None


def _context(tenant_id: UUID, endpoint_id: UUID) -> bytes:
    return bind(tenant_id, "webhook_endpoints", endpoint_id, "sealed_target")
