"""Consent's statements, one method each."""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.consents.models import (
    Consent,
    ConsentEvent,
    ConsentEventKind,
    ConsentState,
    DueConsent,
    DueErasure,
    NoticeTerms,
    Use,
)
from undercroft.sharing.models import Resource, ResourceKind

_QUERIES: Final = load_queries("undercroft.sharing.consents")


class ConsentRepository:
    """Reads and writes notices, consents and whom things are about."""

    async def insert_notice(
        self, transaction: Transaction, notice_id: UUID, key_id: UUID, purpose: str
    ) -> None:
        """Keep a notice of the caller's."""
        await _QUERIES.execute(transaction, "insert_notice", notice_id, key_id, purpose)

    async def insert_notice_version(
        self,
        transaction: Transaction,
        notice_id: UUID,
        number: int,
        sealed: bytes,
        terms: NoticeTerms,
    ) -> None:
        """Add a version to a notice."""
        await _QUERIES.execute(
            transaction,
            "insert_notice_version",
            notice_id,
            number,
            sealed,
            terms.validity_days,
            terms.retention_days,
            terms.erases,
        )

    async def lock_notice(self, transaction: Transaction, notice_id: UUID) -> bool:
        """Keep others from adding a version; whether there is such a notice."""
        return await _QUERIES.maybe(transaction, "lock_notice", notice_id) is not None

    async def advance_notice(self, transaction: Transaction, notice_id: UUID, number: int) -> None:
        """Make a version the latest."""
        await _QUERIES.execute(transaction, "advance_notice", notice_id, number)

    async def find_notice(
        self, transaction: Transaction, notice_id: UUID, number: int | None
    ) -> Record | None:
        """A version of a notice with its key, the latest unless a number is given."""
        return await _QUERIES.maybe(transaction, "find_notice", notice_id, number)

    async def list_notices(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[Record]:
        """The latest versions of the tenant's notices, with their keys."""
        return await _QUERIES.many(transaction, "list_notices", after, limit)

    async def insert_consent(
        self,
        transaction: Transaction,
        consent_id: UUID,
        notice: tuple[UUID, int, str],
        resource: Resource,
        subject_id: UUID,
    ) -> None:
        """Keep that the caller asks for a consent.

        Args:
            transaction: The caller's.
            consent_id: Its id.
            notice: Id, version and purpose.
            resource: What it is about.
            subject_id: Whose consent it is.
        """
        kinds = (ResourceKind.DOCUMENT, ResourceKind.COLLECTION, ResourceKind.RECORD)
        await _QUERIES.execute(
            transaction,
            "insert_consent",
            consent_id,
            *notice,
            *(resource.id if kind is resource.kind else None for kind in kinds),
            resource.id,
            resource.kind.name.lower(),
            subject_id,
        )

    async def find_consent(self, transaction: Transaction, consent_id: UUID) -> Consent | None:
        """A consent that is the caller's, or that they asked for."""
        row = await _QUERIES.maybe(transaction, "find_consent", consent_id)
        return None if row is None else _read_consent(row)

    async def lock_consent(self, transaction: Transaction, consent_id: UUID) -> bool:
        """Keep others from changing a consent of the caller's own; whether there is one."""
        return await _QUERIES.maybe(transaction, "lock_consent", consent_id) is not None

    async def hold_person(self, transaction: Transaction) -> None:
        """Have whoever lists what the caller has given wait for this transaction."""
        await _QUERIES.maybe(transaction, "hold_person")

    async def lock_person(self, transaction: Transaction) -> None:
        """Wait for whatever the caller is giving, and let them give nothing before the transaction ends."""
        await _QUERIES.maybe(transaction, "lock_person")

    async def list_consents(
        self, transaction: Transaction, *, asked: bool, after: UUID | None, limit: int
    ) -> list[Consent]:
        """The caller's own consents, or those that they asked for, the newest first."""
        rows = await _QUERIES.many(transaction, "list_consents", asked, after, limit)
        return [_read_consent(row) for row in rows]

    async def list_given(self, transaction: Transaction, limit: int) -> list[UUID]:
        """The consents that the caller can withdraw, the oldest first."""
        return [row["id"] for row in await _QUERIES.many(transaction, "list_given", limit)]

    async def give_consent(self, transaction: Transaction, consent_id: UUID, version: int) -> None:
        """Let a consent count from now on, to a version of its notice."""
        await _QUERIES.execute(transaction, "give_consent", consent_id, version)

    async def refuse_consent(self, transaction: Transaction, consent_id: UUID) -> None:
        """End a consent that was asked for."""
        await _QUERIES.execute(transaction, "refuse_consent", consent_id)

    async def withdraw_consent(self, transaction: Transaction, consent_id: UUID) -> None:
        """End a consent that was given."""
        await _QUERIES.execute(transaction, "withdraw_consent", consent_id)

    async def expire_consent(self, transaction: Transaction, consent_id: UUID) -> int | None:
        """End a consent whose time is over; its notice's version, None when it is not or not any more to be ended."""
        return cast("int | None", await _QUERIES.value(transaction, "expire_consent", consent_id))

    async def end_retention(self, transaction: Transaction, consent_id: UUID) -> None:
        """Have erased what an expired consent promised to be, once it is kept long enough."""
        await _QUERIES.execute(transaction, "end_retention", consent_id)

    async def insert_event(
        self,
        transaction: Transaction,
        consent_id: UUID,
        kind: ConsentEventKind,
        version: int,
        entry_id: UUID,
    ) -> None:
        """Keep what happened to a consent that is locked."""
        await _QUERIES.execute(transaction, "insert_event", consent_id, kind, version, entry_id)

    async def list_events(
        self, transaction: Transaction, consent_ids: Sequence[UUID]
    ) -> dict[UUID, list[ConsentEvent]]:
        """What happened to consents, in order."""
        events: dict[UUID, list[ConsentEvent]] = {one: [] for one in consent_ids}
        for row in await _QUERIES.many(transaction, "list_events", list(consent_ids)):
            events[row["consent_id"]].append(
                ConsentEvent(
                    ConsentEventKind(row["event"]),
                    row["notice_version"],
                    row["occurred_at"],
                    row["entry_id"],
                )
            )
        return events

    async def list_uses(
        self, transaction: Transaction, consent_id: UUID, *, after: UUID | None, limit: int
    ) -> list[Use]:
        """What was done under a consent, the newest first."""
        rows = await _QUERIES.many(transaction, "list_uses", consent_id, after, limit)
        return [Use(**dict(row)) for row in rows]

    async def find_consent_salt(self, transaction: Transaction, consent_id: UUID) -> bytes | None:
        """The salt of a consent that is the caller's, or that they asked for."""
        return cast(
            "bytes | None", await _QUERIES.value(transaction, "find_consent_salt", consent_id)
        )

    async def find_notice_salt(self, transaction: Transaction, notice_id: UUID) -> bytes | None:
        """The salt of a notice."""
        return cast(
            "bytes | None", await _QUERIES.value(transaction, "find_notice_salt", notice_id)
        )

    async def list_due_consents(self, transaction: Transaction, limit: int) -> list[DueConsent]:
        """Consents of any tenant whose validity or retention is over."""
        rows = await _QUERIES.many(transaction, "list_due_consents", limit)
        return [DueConsent(row["tenant_id"], row["consent_id"], row["subject_id"]) for row in rows]

    async def list_due_erasures(self, transaction: Transaction, limit: int) -> list[DueErasure]:
        """Things of any tenant that are to be erased."""
        return [
            DueErasure(
                row["tenant_id"],
                Resource(ResourceKind.RECORD, row["record_id"])
                if row["document_id"] is None
                else Resource(ResourceKind.DOCUMENT, row["document_id"]),
                row["owner_id"],
            )
            for row in await _QUERIES.many(transaction, "list_due_erasures", limit)
        ]

    async def lock_due_erasure(self, transaction: Transaction, resource_id: UUID) -> bool:
        """Whether a thing is still to be erased; until the transaction ends it is."""
        return await _QUERIES.value(transaction, "lock_due_erasure", resource_id) is not None

    async def find_user(self, transaction: Transaction, email: str) -> UUID | None:
        """A user of the tenant's by their address."""
        return cast("UUID | None", await _QUERIES.value(transaction, "find_user", email))

    async def lock_resource(self, transaction: Transaction, resource_id: UUID) -> bool:
        """Keep others from sharing a thing of the caller's; whether there is one."""
        return await _QUERIES.maybe(transaction, "lock_resource", resource_id) is not None

    async def mark(
        self, transaction: Transaction, resource: Resource, subject_id: UUID | None
    ) -> None:
        """Say whom a thing is about; None for nobody, or, of a record, for its owner."""
        match resource.kind:
            case ResourceKind.DOCUMENT:
                await _QUERIES.execute(transaction, "mark_document", resource.id, subject_id)
            case ResourceKind.COLLECTION:
                await _QUERIES.execute(transaction, "mark_collection", resource.id, subject_id)
            case ResourceKind.RECORD:
                await _QUERIES.execute(transaction, "mark_record", resource.id, subject_id)
            case ResourceKind.RESPONSE | ResourceKind.CONVERSATION:
                raise ValueError("what an answer is about is what it was made from")

    async def data_subject_of(self, transaction: Transaction, resource_id: UUID) -> UUID | None:
        """Whom a thing is about, as it stands in the transaction; None when it is not personal."""
        return cast(
            "UUID | None", await _QUERIES.value(transaction, "data_subject_of", resource_id)
        )


def _read_consent(row: Record) -> Consent:
    return Consent(
        id=row["id"],
        notice_id=row["notice_id"],
        notice_version=row["notice_version"],
        purpose=row["purpose"],
        resource=Resource(ResourceKind[row["resource_kind"].upper()], row["resource_id"]),
        is_gone=row["is_gone"],
        subject_id=row["subject_id"],
        controller_id=row["controller_id"],
        state=ConsentState(row["state"]),
        terms=NoticeTerms(row["validity_days"], row["retention_days"], row["erases"]),
        asked_at=row["asked_at"],
        given_at=row["given_at"],
        valid_until=row["valid_until"],
        retain_until=row["retain_until"],
        erase_after=row["erase_after"],
        ended_at=row["ended_at"],
        salt=row["ledger_salt"],
    )
