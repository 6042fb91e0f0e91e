"""A link says whether one version is there unchanged, for as long as whoever made it may read that, and no longer."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from tests.conftest import MakeScope, Member
from tests.documents import make_versions
from tests.verification.conftest import Desk
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.directory import LogDirectory
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    ResourceKind,
    Terms,
)
from undercroft.sharing.service import GrantService
from undercroft.vault.models import Document
from undercroft.verification.links.models import LinkStanding, LinkVerdict
from undercroft.verification.links.service import VerificationLinks
from undercroft.verification.models import ProofKind, Standing, Verdict

HOUR = timedelta(hours=1)
NOTHING = Verdict(ProofKind.DOCUMENT_VERSION)


@dataclass(frozen=True, slots=True)
class Gate:
    """A desk with links."""

    desk: Desk
    links: VerificationLinks
    grants: GrantService

    async def share(self, document: Document, to: Member, terms: Terms | None = None) -> Grant:
        """A grant to read it, unless other terms are given."""
        return await self.grants.create(
            self.desk.ann,
            Resource(ResourceKind.DOCUMENT, document.id),
            Grantee(GranteeKind.USER, to.principal_id),
            terms or Terms(frozenset({GrantAction.READ})),
        )

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
def gate(desk: Desk) -> Gate:
    """Nothing in it."""
    documents, ids, ledger = desk.documents, IdSource(), desk.documents._ledger
    people = IdentityService(desk.database, ledger, ids, SystemClock())
    links = VerificationLinks(
        desk.database,
        make_versions(documents),
        desk.records.records,
        ledger,
        LogDirectory(desk.database),
        documents._keys,
        ids,
    )
    return Gate(desk, links, GrantService(desk.database, ledger, ids, people))


async def test_whoever_follows_it_learns_where_the_version_stands(gate: Gate) -> None:
    desk = gate.desk
    document = await desk.put()
    token = await gate.mint(desk.ann, document)
    said = await gate.links.follow(token)
    version = await make_versions(desk.documents).get(desk.ann, document.id, 1)
    assert (said.standing, said.verdict.status) == (LinkStanding.LIVE, Standing.UNCHANGED)
    assert said.sha256 == version.sha256.hex()
    assert said.verdict.log == (await desk.log_keys.get(desk.ann.tenant_id)).origin
    assert said.verdict.valid_until is not None
    await desk.trash.put(desk.ann, document.id, None)
    said = await gate.links.follow(token)
    assert (said.verdict.status, said.sha256) == (Standing.DELETED, None)
    await desk.documents.delete(desk.ann, document.id)
    said = await gate.links.follow(token)
    assert (said.verdict.status, said.sha256) == (Standing.ERASED, None)


async def test_it_counts_until_it_is_revoked_or_over(gate: Gate, make_scope: MakeScope) -> None:
    desk = gate.desk
    document = await desk.put()
    tokens = [await gate.mint(desk.ann, document) for _ in range(2)]
    first, _ = await gate.links.list_links(desk.ann, after=None, limit=9)
    other = await make_scope(desk.ann.tenant_id)
    with pytest.raises(NotFoundError):
        await gate.links.revoke(other, first.id)
    await gate.links.revoke(desk.ann, first.id)
    assert await gate.links.follow(tokens[0]) == LinkVerdict(LinkStanding.REVOKED, NOTHING)
    assert (await gate.links.follow(tokens[1])).standing is LinkStanding.LIVE
    about = {
        "actor_id": desk.ann.principal_id,
        "resource": f"file-{document.id.hex}",
        "version": 1,
    }
    assert await gate.entries() == [
        {"action": f"verification_link.{action}", **about}
        for action in ("create", "create", "revoke")
    ]


async def test_a_link_that_is_over_says_so_and_nothing_else(gate: Gate) -> None:
    document = await gate.desk.put()
    made = await gate.links.create(gate.desk.ann, document.id, 1, timedelta(microseconds=1))
    assert await gate.links.follow(made.token) == LinkVerdict(LinkStanding.EXPIRED, NOTHING)


async def test_it_counts_no_longer_than_its_creators_right_to_read(
    gate: Gate, make_scope: MakeScope
) -> None:
    desk = gate.desk
    document = await desk.put()
    bob = await make_scope(desk.ann.tenant_id)
    until = SystemClock().now() + timedelta(minutes=10)
    grant = await gate.share(document, bob, Terms(frozenset({GrantAction.READ}), expires_at=until))
    token = await gate.mint(bob, document)
    said = await gate.links.follow(token)
    assert (said.verdict.status, said.verdict.valid_until) == (Standing.UNCHANGED, until)
    await gate.grants.revoke(desk.ann, grant.id)
    assert await gate.links.follow(token) == LinkVerdict(LinkStanding.REVOKED, NOTHING)


async def test_it_counts_for_the_purpose_for_which_it_was_made(
    gate: Gate, make_scope: MakeScope
) -> None:
    document = await gate.desk.put()
    bob = await make_scope(gate.desk.ann.tenant_id)
    await gate.share(document, bob, Terms(frozenset({GrantAction.READ}), purpose="maintenance"))
    with pytest.raises(NotFoundError):
        await gate.mint(bob, document)
    token = await gate.mint(replace(bob, purpose="maintenance"), document)
    assert (await gate.links.follow(token)).verdict.status is Standing.UNCHANGED


async def test_who_was_suspended_vouches_for_nothing(gate: Gate, make_scope: MakeScope) -> None:
    document = await gate.desk.put()
    bob = await make_scope(gate.desk.ann.tenant_id)
    await gate.share(document, bob)
    token = await gate.mint(bob, document)
    await gate.desk.execute("UPDATE users SET suspended_at = now() WHERE id = $1", bob.principal_id)
    assert (await gate.links.follow(token)).standing is LinkStanding.REVOKED


async def test_only_who_may_read_it_makes_one(gate: Gate, make_scope: MakeScope) -> None:
    document = await gate.desk.put()
    bob, eve = await make_scope(gate.desk.ann.tenant_id), await make_scope()
    for nobody in (bob, eve):
        with pytest.raises(NotFoundError):
            await gate.mint(nobody, document)
    await gate.share(document, bob, Terms(frozenset({GrantAction.DOWNLOAD})))
    with pytest.raises(NotGrantedError):
        await gate.mint(bob, document)
    with pytest.raises(NotFoundError):
        await gate.mint(gate.desk.ann, document, 2)
    assert await gate.entries() == []


@pytest.mark.parametrize(
    "token", ["", "uv_", "uv_" + "x" * 43, "ul_" + "x" * 43, "\ud800", "é" * 46]
)
async def test_what_is_no_link_leads_nowhere(gate: Gate, token: str) -> None:
    with pytest.raises(NotFoundError):
        await gate.links.follow(token)


async def test_a_token_is_kept_as_its_hash(gate: Gate) -> None:
    token = await gate.mint(gate.desk.ann, await gate.desk.put())
    async with gate.desk.database.transaction(gate.desk.ann) as transaction:
        kept = await transaction.fetchval("SELECT l::text FROM verification_links AS l")
    assert token not in kept
    assert token.removeprefix("uv_") not in kept
