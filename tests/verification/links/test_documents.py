"""A link says whether one version is there unchanged, for as long as whoever made it may read that, and no longer."""

import io
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.conftest import MakeScope
from tests.documents import make_versions
from tests.verification.links.conftest import Booth
from undercroft.kit.clock import SystemClock
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import (
    GrantAction,
    Terms,
)
from undercroft.verification.links.models import LinkStanding, LinkVerdict
from undercroft.verification.models import ProofKind, Standing, Verdict

NOTHING = Verdict(ProofKind.DOCUMENT_VERSION)


async def test_whoever_follows_it_learns_where_the_version_stands(booth: Booth) -> None:
    desk = booth.desk
    document = await desk.put()
    token = await booth.mint(desk.ann, document)
    said = await booth.links.follow(token)
    version = await make_versions(desk.documents).get(desk.ann, document.id, 1)
    assert (said.standing, said.verdict.status) == (LinkStanding.LIVE, Standing.UNCHANGED)
    assert said.sha256 == version.sha256.hex()
    assert said.verdict.log == (await desk.log_keys.get(desk.ann.tenant_id)).origin
    assert said.verdict.valid_until is not None
    await desk.trash.put(desk.ann, document.id, None)
    said = await booth.links.follow(token)
    assert (said.verdict.status, said.sha256) == (Standing.DELETED, None)
    await desk.documents.delete(desk.ann, document.id)
    said = await booth.links.follow(token)
    assert (said.verdict.status, said.sha256) == (Standing.ERASED, None)


async def test_it_is_vouched_for_before_the_log_has_its_first_entry(booth: Booth) -> None:
    desk = booth.desk
    content = io.BytesIO(b"The mill grinds barley.")
    document = await desk.documents.import_file(desk.ann, content, "mill.txt", "user_data")
    said = await booth.links.follow(await booth.mint(desk.ann, document))
    assert said.verdict.status is Standing.UNCHANGED
    assert said.verdict.log == (await desk.log_keys.get(desk.ann.tenant_id)).origin
    assert said.verdict.signed_by is not None


async def test_it_counts_until_it_is_revoked_or_over(booth: Booth, make_scope: MakeScope) -> None:
    desk = booth.desk
    document = await desk.put()
    tokens = [await booth.mint(desk.ann, document) for _ in range(2)]
    first, _ = await booth.links.list_links(desk.ann, after=None, limit=9)
    other = await make_scope(desk.ann.tenant_id)
    with pytest.raises(NotFoundError):
        await booth.links.revoke(other, first.id)
    await booth.links.revoke(desk.ann, first.id)
    assert await booth.links.follow(tokens[0]) == LinkVerdict(LinkStanding.REVOKED, NOTHING)
    assert (await booth.links.follow(tokens[1])).standing is LinkStanding.LIVE
    about = {
        "actor_id": desk.ann.principal_id,
        "resource": f"file-{document.id.hex}",
        "version": 1,
    }
    assert await booth.entries() == [
        {"action": f"verification_link.{action}", **about}
        for action in ("create", "create", "revoke")
    ]


async def test_a_link_that_is_over_says_so_and_nothing_else(booth: Booth) -> None:
    document = await booth.desk.put()
    made = await booth.links.create(booth.desk.ann, document.id, 1, timedelta(microseconds=1))
    assert await booth.links.follow(made.token) == LinkVerdict(LinkStanding.EXPIRED, NOTHING)


async def test_it_counts_no_longer_than_its_creators_right_to_read(
    booth: Booth, make_scope: MakeScope
) -> None:
    desk = booth.desk
    document = await desk.put()
    bob = await make_scope(desk.ann.tenant_id)
    until = SystemClock().now() + timedelta(minutes=10)
    grant = await booth.desk.share(
        document, bob, Terms(frozenset({GrantAction.READ}), expires_at=until)
    )
    token = await booth.mint(bob, document)
    said = await booth.links.follow(token)
    assert (said.verdict.status, said.verdict.valid_until) == (Standing.UNCHANGED, until)
    await desk.grants.revoke(desk.ann, grant.id)
    assert await booth.links.follow(token) == LinkVerdict(LinkStanding.REVOKED, NOTHING)


@pytest.mark.parametrize("is_revoked", [True, False])
async def test_who_reads_by_a_grant_vouches_for_nothing_that_is_gone(
    booth: Booth, make_scope: MakeScope, *, is_revoked: bool
) -> None:
    """Whether the grant ended before or with the document."""
    desk = booth.desk
    document = await desk.put()
    bob = await make_scope(desk.ann.tenant_id)
    grant = await desk.share(document, bob)
    own, others = await booth.mint(desk.ann, document), await booth.mint(bob, document)
    if is_revoked:
        await desk.grants.revoke(desk.ann, grant.id)
    await desk.trash.put(desk.ann, document.id, None)
    assert (await booth.links.follow(own)).verdict.status is Standing.DELETED
    assert await booth.links.follow(others) == LinkVerdict(LinkStanding.REVOKED, NOTHING)
    await desk.documents.delete(desk.ann, document.id)
    assert (await booth.links.follow(own)).verdict.status is Standing.ERASED
    assert await booth.links.follow(others) == LinkVerdict(LinkStanding.REVOKED, NOTHING)


async def test_it_counts_for_the_purpose_for_which_it_was_made(
    booth: Booth, make_scope: MakeScope
) -> None:
    document = await booth.desk.put()
    bob = await make_scope(booth.desk.ann.tenant_id)
    await booth.desk.share(
        document, bob, Terms(frozenset({GrantAction.READ}), purpose="maintenance")
    )
    with pytest.raises(NotFoundError):
        await booth.mint(bob, document)
    token = await booth.mint(replace(bob, purpose="maintenance"), document)
    assert (await booth.links.follow(token)).verdict.status is Standing.UNCHANGED


async def test_who_was_suspended_vouches_for_nothing(booth: Booth, make_scope: MakeScope) -> None:
    document = await booth.desk.put()
    bob = await make_scope(booth.desk.ann.tenant_id)
    await booth.desk.share(document, bob)
    token = await booth.mint(bob, document)
    await booth.desk.execute(
        "UPDATE users SET suspended_at = now() WHERE id = $1", bob.principal_id
    )
    assert (await booth.links.follow(token)).standing is LinkStanding.REVOKED


async def test_only_who_may_read_it_makes_one(booth: Booth, make_scope: MakeScope) -> None:
    document = await booth.desk.put()
    bob, eve = await make_scope(booth.desk.ann.tenant_id), await make_scope()
    for nobody in (bob, eve):
        with pytest.raises(NotFoundError):
            await booth.mint(nobody, document)
    await booth.desk.share(document, bob, Terms(frozenset({GrantAction.DOWNLOAD})))
    with pytest.raises(NotGrantedError):
        await booth.mint(bob, document)
    with pytest.raises(NotFoundError):
        await booth.mint(booth.desk.ann, document, 2)
    assert await booth.entries() == []


@pytest.mark.parametrize(
    "token", ["", "uv_", "uv_" + "x" * 43, "ul_" + "x" * 43, "\ud800", "é" * 46]
)
async def test_what_is_no_link_leads_nowhere(booth: Booth, token: str) -> None:
    with pytest.raises(NotFoundError):
        await booth.links.follow(token)


async def test_a_token_is_kept_as_its_hash(booth: Booth) -> None:
    token = await booth.mint(booth.desk.ann, await booth.desk.put())
    async with booth.desk.database.transaction(booth.desk.ann) as transaction:
        kept = await transaction.fetchval("SELECT l::text FROM verification_links AS l")
    assert token not in kept
    assert token.removeprefix("uv_") not in kept
