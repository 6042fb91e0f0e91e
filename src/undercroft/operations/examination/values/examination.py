"""Opens each sealed value that no other examination does, in the place where it is."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.chat.conversations.sealing import item_place, metadata_place
from undercroft.chat.responses.asked import asked_place
from undercroft.chat.responses.statements import statement_place
from undercroft.chat.streams.log import events_place
from undercroft.idempotency.models import answer_place
from undercroft.identity.second_factors.models import secret_place
from undercroft.kit.database import Transaction
from undercroft.mail.models import message_place
from undercroft.operations.examination.opening import Opening
from undercroft.operations.examination.values.repository import ValueRepository
from undercroft.sharing.consents.notices import notice_place
from undercroft.sharing.links.service import address_place
from undercroft.sharing.requests.service import request_place
from undercroft.vault.comments.service import comment_place
from undercroft.vault.records.migrations import patch_place

_FIRST: Final = (UUID(int=0), -1)
_PAGE: Final = 500

ReadValues: TypeAlias = Callable[[Transaction, tuple[UUID, int], int], Awaitable[list[Record]]]
FindPlace: TypeAlias = Callable[[UUID, UUID, int], bytes]
"""What a value is bound to: of a tenant, a row and a number, which not every kind has."""


class ValueExamination:
    """Examines what one tenant's people have sealed beside documents and records.

    Args:
        opening: Opens its keys, and takes what is wrong.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        repository = ValueRepository()
        self._sources: tuple[tuple[ReadValues, FindPlace, str], ...] = (
            (
                repository.list_sealed_mail,
                lambda tenant, row, _: message_place(tenant, row),
                "sealed_message of outgoing_mail",
            ),
            (
                repository.list_sealed_answers,
                lambda tenant, row, _: answer_place(tenant, row),
                "sealed_answer of idempotency_keys",
            ),
            (
                repository.list_sealed_factors,
                lambda tenant, row, _: secret_place(tenant, row),
                "sealed_secret of second_factors",
            ),
            (
                repository.list_sealed_links,
                lambda tenant, row, _: address_place(tenant, row),
                "email of share_links",
            ),
            (
                repository.list_sealed_requests,
                lambda tenant, row, _: request_place(tenant, row),
                "sealed_content of access_requests",
            ),
            (
                repository.list_sealed_comments,
                lambda tenant, row, _: comment_place(tenant, row),
                "sealed_text of document_comments",
            ),
            (repository.list_sealed_notices, notice_place, "sealed_content of notice_versions"),
            (repository.list_sealed_statements, statement_place, "statement of response_passages"),
            (repository.list_sealed_events, events_place, "events of response_events"),
            (
                repository.list_sealed_questions,
                lambda tenant, row, _: asked_place(tenant, row),
                "request of response_streams",
            ),
            (
                repository.list_sealed_conversations,
                lambda tenant, row, _: metadata_place(tenant, row),
                "sealed_metadata of conversations",
            ),
            (repository.list_sealed_items, item_place, "sealed_item of conversation_items"),
            (
                repository.list_sealed_patches,
                lambda tenant, row, _: patch_place(tenant, row),
                "sealed_patch of record_migrations",
            ),
        )

    async def run(self, transaction: Transaction) -> None:
        """Open every value."""
        for read, find_place, kind in self._sources:
            last = _FIRST
            while page := await read(transaction, last, _PAGE):
                for row in page:
                    await self._open(row, find_place, kind)
                last = (page[-1]["id"], page[-1]["number"])

    async def _open(self, row: Record, find_place: FindPlace, kind: str) -> None:
        key = await self._opening.open(row)
        if key is None:
            return
        row_id, number = row["id"], row["number"]
        place = find_place(self._opening.tenant_id, row_id, number)
        which = f" {number}" if number else ""
        subject = f"{kind} {row_id.hex}{which}"
        self._opening.unseal(key, row["sealed"], place, subject)
