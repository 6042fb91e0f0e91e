"""Where links of verification are made, revoked and followed."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.conftest import Member
from tests.documents import make_versions
from tests.verification.conftest import Desk
from undercroft.kit.ids import IdSource
from undercroft.vault.models import Document
from undercroft.verification.links.service import VerificationLinks

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Booth:
    """A desk with links."""

    desk: Desk
    links: VerificationLinks

    async def mint(self, scope: Member, document: Document, number: int = 1) -> str:
        """A link's token."""
        return (await self.links.create(scope, document.id, number, HOUR)).token

    async def entries(self) -> list[dict[str, object]]:
        """What the ledger has of links."""
        async with self.desk.database.transaction(self.desk.ann) as transaction:
            rows = await transaction.fetch(
                "SELECT action, actor_id, resource, version FROM ledger_pending"
                " WHERE action LIKE 'verification_link.%' ORDER BY ordinal"
            )
        return [dict(row) for row in rows]


@pytest.fixture
def booth(desk: Desk) -> Booth:
    """Nothing in it."""
    links = VerificationLinks(
        desk.database,
        make_versions(desk.documents),
        desk.records.records,
        desk.records.ledger,
        desk.log_keys,
        desk.records.keys,
        IdSource(),
    )
    return Booth(desk, links)
