"""What was asked and on whose behalf, sealed beside the stream: another process can go on with it. Pure."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from undercroft.chat.responses.models import ResponseRequest
from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.scope import Scope
from undercroft.vault.keys.models import DataKey


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked, as a scope: their rights are looked up anew by whoever uses it."""

    tenant_id: UUID
    principal_id: UUID
    actor_id: UUID | None = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request and its asker."""

    asker: Asker
    request: ResponseRequest


_ADAPTER: Final = TypeAdapter(Asked)


def seal_asked(key: DataKey, scope: Scope, response_id: UUID, request: ResponseRequest) -> bytes:
    """Under the response's key."""
    asker = Asker(scope.tenant_id, scope.principal_id, scope.actor_id, scope.purpose)
    plain = _ADAPTER.dump_json(Asked(asker, request))
    return seal(key.material, plain, asked_place(scope.tenant_id, response_id))


def open_asked(key: DataKey, tenant_id: UUID, response_id: UUID, sealed: bytes) -> Asked:
    """From under the response's key.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    return _ADAPTER.validate_json(unseal(key.material, sealed, asked_place(tenant_id, response_id)))


def asked_place(tenant_id: UUID, response_id: UUID) -> bytes:
    """What a sealed request is bound to."""
    return bind(tenant_id, "response_streams", response_id, "request")
