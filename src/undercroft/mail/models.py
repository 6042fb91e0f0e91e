"""Mail as it is stored."""

import json
from typing import Final
from uuid import UUID

from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.mail.message import Message

SEND_JOB: Final = "send_mail"


def seal_message(key: bytes, message: Message, tenant_id: UUID, mail_id: UUID) -> bytes:
    """All of a message, encrypted and bound to its row."""
    content = {
        "to": message.to,
        "subject": message.subject,
        "text": message.text,
        "headers": dict(message.headers),
    }
    plaintext = json.dumps(content, ensure_ascii=False).encode()
    return seal(key, plaintext, message_place(tenant_id, mail_id))


def open_message(key: bytes, sealed: bytes, tenant_id: UUID, mail_id: UUID) -> Message:
    """The message in a row.

    Raises:
        DecryptionError: When it was altered, or moved from another row.
    """
    return Message(**json.loads(unseal(key, sealed, message_place(tenant_id, mail_id))))


def message_place(tenant_id: UUID, mail_id: UUID) -> bytes:
    """What a sealed message is bound to."""
    return bind(tenant_id, "outgoing_mail", mail_id, "sealed_message")
