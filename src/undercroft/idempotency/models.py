"""What is kept of a request, and how it is sealed."""

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from undercroft.idempotency.errors import MalformedKeyError
from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.scope import Scope

_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_NOBODY: Final = UUID(int=0)
_ID: Final = re.compile(rb"(?<![0-9a-z])[a-z]{2,16}[-_]([0-9a-f]{32})(?![0-9a-z])")
_MOST_SUBJECTS: Final = 200


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The name that a client gives a request.

    Attributes:
        route: What is asked for: the same key is another one there.
        text: What the client sent.
        request: SHA-256 of all that the request says.
    """

    route: str
    text: str
    request: bytes

    def digest(self, scope: Scope) -> bytes:
        """By which the key is found. A service that acts for somebody has keys of its own."""
        actor = scope.actor_id or _NOBODY
        return hashlib.sha256(actor.bytes + self.text.encode()).digest()


def read_key(values: Sequence[str]) -> str:
    """A key as it was sent.

    Raises:
        MalformedKeyError: When it is none, or sent twice.
    """
    if len(values) != 1 or _KEY.fullmatch(values[0]) is None:
        raise MalformedKeyError
    return values[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered.

    Attributes:
        status: Its status.
        headers: Those that the route gave it, in small letters.
        body: All of its body.
        things: Which things of those that can be shared the request and its answer stand for, by their ids on the wire.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    things: Sequence[str]

    def subjects(self) -> list[UUID]:
        """The ids of all that it is about, so that it goes with each of them."""
        told = "\n".join([*(value for _, value in self.headers), *self.things]).encode()
        found = dict.fromkeys(_ID.findall(told + b"\n" + self.body))
        return [UUID(hex=digits.decode()) for digits in list(found)[:_MOST_SUBJECTS]]

    def encode(self, request: bytes) -> bytes:
        """With the request that it answers, for sealing."""
        head = json.dumps(
            {
                "request": request.hex(),
                "status": self.status,
                "headers": list(map(list, self.headers)),
                "things": list(self.things),
            }
        )
        return head.encode() + b"\n" + self.body

    @classmethod
    def decode(cls, text: bytes) -> tuple[bytes, Self]:
        """The request, and its answer."""
        head, _, body = text.partition(b"\n")
        told = json.loads(head)
        headers = [(name, value) for name, value in told["headers"]]
        return bytes.fromhex(told["request"]), cls(told["status"], headers, body, told["things"])


def seal_answer(
    material: bytes, key: RequestKey, answer: Answer, tenant_id: UUID, row_id: UUID
) -> bytes:
    """An answer, under its data key and, within that, under the client's own key.

    An answer can show a secret that is kept nowhere else, such as a new API key. Whoever has the database and the keys
    of the service but not the client's key, which is not kept, reads it as little as they guess that key.
    """
    inner = seal(
        _inner(material, key), answer.encode(key.request), answer_place(tenant_id, row_id, 1)
    )
    return seal(material, inner, answer_place(tenant_id, row_id))


def open_answer(
    material: bytes, key: RequestKey, sealed: bytes, tenant_id: UUID, row_id: UUID
) -> tuple[bytes, Answer]:
    """The request in a row and its answer.

    Raises:
        DecryptionError: When it was altered, or moved from another row.
    """
    inner = unseal(material, sealed, answer_place(tenant_id, row_id))
    return Answer.decode(unseal(_inner(material, key), inner, answer_place(tenant_id, row_id, 1)))


def answer_place(tenant_id: UUID, row_id: UUID, layer: int = 0) -> bytes:
    """What a sealed answer is bound to."""
    return bind(tenant_id, "idempotency_keys", row_id, "sealed_answer", layer)


def _inner(material: bytes, key: RequestKey) -> bytes:
    return hmac.digest(material, b"undercroft/idempotency\n" + key.text.encode(), hashlib.sha256)
