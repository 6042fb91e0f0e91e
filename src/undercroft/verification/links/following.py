"""What a verification link says at one instant, by the right of whoever made it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.ledger.leaves import grant_reference
from undercroft.sharing.consents.models import ConsentState
from undercroft.sharing.ways import grant_ids
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.commitments import CommittedField
from undercroft.verification.links.models import (
    KIND_OF_RESOURCE,
    LinkStanding,
    LinkVerdict,
    NamedField,
    Readable,
)
from undercroft.verification.links.repository import VerificationLinkRepository
from undercroft.verification.models import ProofKind, Standing, Verdict
from undercroft.verification.records import RecordStandings
from undercroft.verification.standings import Standings, first_end

_GONE: Final = frozenset({Standing.ERASED, Standing.DELETED})


class LinkReading:
    """Holds what a link is to against what is kept now, in a transaction of the link's creator.

    Args:
        keys: Open what is kept.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._standings = Standings(keys)
        self._records = RecordStandings(keys)
        self._repository = VerificationLinkRepository()

    async def read(self, transaction: Transaction, link_id: UUID) -> LinkVerdict:
        """What a link says."""
        link = await self._repository.find_link(transaction, link_id)
        if link is None:
            return LinkVerdict(LinkStanding.REVOKED, Verdict(ProofKind.DOCUMENT_VERSION))
        kind = KIND_OF_RESOURCE[link["kind"]]
        standing = LinkStanding(link["standing"])
        if standing is not LinkStanding.LIVE:
            return LinkVerdict(standing, Verdict(kind))
        if kind is ProofKind.RECORD_FIELDS:
            return await self._read_fields(transaction, link)
        return await self._read_version(transaction, link)

    async def _read_version(self, transaction: Transaction, link: Record) -> LinkVerdict:
        kind = ProofKind.DOCUMENT_VERSION
        if link["document_id"] is None:
            return _say_gone(link, Standing.ERASED)
        found = await self._standings.of_version(transaction, link["document_id"], link["version"])
        if found is None or found.standing in _GONE:
            return _say_gone(link, Standing.ERASED if found is None else found.standing)
        document = await self._repository.find_readable(transaction, link["document_id"])
        if document is None:
            return LinkVerdict(LinkStanding.REVOKED, Verdict(kind))
        until, consent = await self._rests_on(transaction, document, link["expires_at"])
        digest = None if found.digest is None else found.digest.hex()
        return _say(kind, found.standing, until, sha256=digest, consent=consent)

    async def _read_fields(self, transaction: Transaction, link: Record) -> LinkVerdict:
        kind = ProofKind.RECORD_FIELDS
        if link["record_id"] is None:
            return _say_gone(link, Standing.ERASED)
        record_id, number, pointers = link["record_id"], link["version"], link["fields"]
        found = await self._records.of_fields(transaction, record_id, number, pointers)
        if found is None or found.standing in _GONE:
            return _say_gone(link, Standing.ERASED)
        record = await self._repository.find_readable_record(transaction, record_id, number)
        readable = None if record is None else record.of_fields(pointers)
        if readable is None:
            return LinkVerdict(LinkStanding.REVOKED, Verdict(kind))
        until, consent = await self._rests_on(transaction, readable, link["expires_at"])
        fields = [_name(field) for field in found.fields]
        return _say(kind, found.standing, until, consent=consent, fields=fields or None)

    async def _rests_on(
        self, transaction: Transaction, readable: Readable, until: datetime
    ) -> tuple[datetime, ConsentState | None]:
        """When the right to read it ends, or the link if that is first; and where its consent is."""
        references = [grant_reference(grant_id) for grant_id in grant_ids(readable.way)]
        grants = await self._standings.of_grants(transaction, references)
        ends = [until, *filter(None, [first_end(grants)])]
        consents = [grant.consent for grant in grants if grant.consent is not None]
        return min(ends), next(iter(consents), None)


def _name(field: CommittedField) -> NamedField:
    return NamedField(field.pointer, field.salt.hex(), field.commitment)


def _say_gone(link: Record, standing: Standing) -> LinkVerdict:
    """That it is in the trash or erased, which its owner alone vouches for: the rights of others end with it."""
    kind = KIND_OF_RESOURCE[link["kind"]]
    if not link["creator_owns"]:
        return LinkVerdict(LinkStanding.REVOKED, Verdict(kind))
    return _say(kind, standing, link["expires_at"])


def _say(
    kind: ProofKind,
    standing: Standing,
    until: datetime,
    *,
    sha256: str | None = None,
    consent: ConsentState | None = None,
    fields: Sequence[NamedField] | None = None,
) -> LinkVerdict:
    verdict = Verdict(kind, status=standing, valid_until=until)
    return LinkVerdict(LinkStanding.LIVE, verdict, sha256, consent, fields)
