"""What there is to share: rows alone of documents and stores; records and a conversation as the services keep them."""

from collections.abc import Mapping
from typing import Any, Final

from tests.sharing.conftest import Office
from tests.sharing.twin.cast import CONVERSATION, DOCUMENTS, ENTRIES, PERSONAL, SAID
from undercroft.chat.conversations.models import NewItem, Source
from undercroft.chat.conversations.service import ConversationService
from undercroft.kit.ids import IdSource
from undercroft.sharing.models import Resource, ResourceKind
from undercroft.vault.records.service import RecordService
from undercroft.vault.schemas.models import Definition
from undercroft.vault.schemas.service import SchemaService

_SCHEMA: Final[Mapping[str, Any]] = {"type": "object"}


async def put_rows(office: Office) -> dict[str, Resource]:
    """Documents of Ann's, and a store of hers and one of Bob's."""
    documents = {name: await office.put_document(office.ann) for name in DOCUMENTS}
    return {
        **documents,
        "shelf": await office.put_collection(office.ann),
        "drawer": await office.put_collection(office.bob),
    }


async def put_records(office: Office, records: RecordService) -> dict[str, Resource]:
    """A record of Ann's, with a field that is personal, and one of Bob's; a field of each has a key of its own."""
    schemas = SchemaService(office.database, office.keys, office.ledger, IdSource())
    put: dict[str, Resource] = {}
    for name, owner in (("chart", office.ann), ("form", office.bob)):
        definition = Definition(
            _SCHEMA, sensitive_fields=("/health/blood",), personal_fields=tuple(PERSONAL[name])
        )
        schema = await schemas.create(owner, name, definition)
        record = await records.create(owner, schema.id, ENTRIES)
        put[name] = Resource(ResourceKind.RECORD, record.id)
    return put


async def begin_conversation(
    office: Office, conversations: ConversationService, document: Resource
) -> dict[str, Resource]:
    """A conversation of Bob's: a question, and an answer that was made from a document."""
    question, answer = SAID
    items = (
        NewItem("message", _said("user", "input_text", question)),
        NewItem(
            "message",
            _said("assistant", "output_text", answer),
            sources=(Source(document.id, 1, 0, 1),),
        ),
    )
    begun = await conversations.create(office.bob, {}, items)
    return {CONVERSATION: Resource(ResourceKind.CONVERSATION, begun.id)}


def _said(role: str, kind: str, text: str) -> dict[str, Any]:
    return {"role": role, "status": "completed", "content": [{"type": kind, "text": text}]}
