"""What the ledger commits to of an answer: which passages of which document versions it was made from. Pure.

Each passage has a statement and a salt of its own, and the ledger's entry commits to the list of their commitments. So
a reader who may see some of the documents can be shown those, with proof, and nothing of the others but that they are
there.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import canonical_object, grant_reference
from undercroft.retrieval.search.models import FoundPassage
from undercroft.vault.keys.models import DataKey
from undercroft.vault.models import DOCUMENT_PREFIX


def state_passage(number: int, passage: FoundPassage) -> bytes:
    """A passage's statement, as RFC 8785 spells it.

    The score has four digits after its point: as text, for no two programs spell a fraction alike.
    """
    return canonical_object(
        {
            "document": render_id(DOCUMENT_PREFIX, passage.document_id),
            "end": passage.end,
            "grants": " ".join(grant_reference(grant.id) for grant in passage.way.grants),
            "number": number,
            "score": f"{passage.score:.4f}",
            "start": passage.start,
            "text_sha256": sha256(passage.text.encode()).hexdigest(),
            "version": passage.document_version,
        }
    )


def read_statement(statement: bytes) -> Mapping[str, Any]:
    """Its members."""
    members: Mapping[str, Any] = json.loads(statement)
    return members


def passage_salt(salt: bytes, response_id: UUID, number: int) -> bytes:
    """The salt of one passage's commitment, from the response's: it is gone when that is."""
    reference = render_id(RESPONSE_PREFIX, response_id)
    return hmac.digest(salt, f"{reference}/passages/{number}".encode(), "sha256")


def commit_passage(salt: bytes, response_id: UUID, number: int, statement: bytes) -> str:
    """SHA-256 of the passage's salt followed by its statement, in hexadecimal."""
    return sha256(passage_salt(salt, response_id, number) + statement).hexdigest()


def digest_answer(response_id: UUID, model: str, commitments: Sequence[str]) -> bytes:
    """The content of the ledger's entry: SHA-256 of the answer's statement as RFC 8785 spells it."""
    statement = {
        "model": model,
        "passages": " ".join(commitments),
        "response": render_id(RESPONSE_PREFIX, response_id),
    }
    return sha256(canonical_object(statement)).digest()


def seal_statement(
    key: DataKey, tenant_id: UUID, response_id: UUID, number: int, statement: bytes
) -> bytes:
    """A statement under the response's key."""
    return seal(key.material, statement, statement_place(tenant_id, response_id, number))


def open_statement(
    key: DataKey, tenant_id: UUID, response_id: UUID, number: int, sealed: bytes
) -> bytes:
    """A statement from under the response's key.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    return unseal(key.material, sealed, statement_place(tenant_id, response_id, number))


def statement_place(tenant_id: UUID, response_id: UUID, number: int) -> bytes:
    """What a sealed statement is bound to: the passage of the answer that has this number."""
    return bind(tenant_id, "response_passages", response_id, "statement", number)
