"""A link to fields of a record: what it tells, and for how long."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from tests.conftest import MakeScope, Member
from tests.records import ANY, changed
from tests.verification.conftest import reading
from tests.verification.links.conftest import HOUR, Booth
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import (
    GrantAction,
    Terms,
)
from undercroft.vault.records.errors import FieldNotThereError, OverlappingFieldsError
from undercroft.vault.records.models import Record
from undercroft.verification.links.models import LinkStanding, LinkVerdict
from undercroft.verification.models import ProofKind, Standing, Verdict

NOTHING = Verdict(ProofKind.RECORD_FIELDS)
FIELDS = ("/health/allergies", "/city")


async def mint(
    booth: Booth, scope: Member, record: Record, fields: Sequence[str] = FIELDS, number: int = 1
) -> str:
    """A link's token."""
    made = await booth.links.create_of_fields(scope, record.id, number, fields, HOUR)
    return made.token


async def test_whoever_follows_it_learns_where_the_fields_stand(booth: Booth) -> None:
    desk = booth.desk
    record = await desk.records.ann(desk.ann)
    token = await mint(booth, desk.ann, record)
    origin = (await desk.log_keys.get(desk.ann.tenant_id)).origin
    await desk.records.records.update(desk.ann, record.id, ANY, changed(city="Bonn"))
    for _ in range(2):
        said = await booth.links.follow(token)
        assert (said.standing, said.verdict.status) == (LinkStanding.LIVE, Standing.UNCHANGED)
        assert said.verdict.log == origin
        assert said.verdict.valid_until is not None
        assert said.sha256 is None
        named = {
            field.pointer: (bytes.fromhex(field.salt), field.sha256) for field in said.fields or ()
        }
        # Whoever has the right value in hand makes sure of it; nobody is told it.
        assert {
            pointer: sha256(named[pointer][0] + value).hexdigest()
            for pointer, value in (("/city", b'"Ulm"'), ("/health/allergies", b'["nuts"]'))
        } == {pointer: digest for pointer, (_, digest) in named.items()}
        await desk.sequencer.sequence(desk.ann.tenant_id)
    await desk.records.records.delete(desk.ann, record.id, ANY)
    said = await booth.links.follow(token)
    assert (said.verdict.status, said.fields) == (Standing.ERASED, None)
    (link,) = await booth.links.list_links(desk.ann, after=None, limit=9)
    # A pointer may hold what somebody wrote.
    assert (link.target.record_id, link.target.fields) == (None, None)
    await booth.links.revoke(desk.ann, link.id)
    assert (await booth.links.follow(token)).standing is LinkStanding.REVOKED


async def test_it_counts_until_it_is_revoked_and_both_are_on_record(booth: Booth) -> None:
    desk = booth.desk
    record = await desk.records.ann(desk.ann)
    token = await mint(booth, desk.ann, record)
    (link,) = await booth.links.list_links(desk.ann, after=None, limit=9)
    assert (link.target.record_id, link.target.version) == (record.id, 1)
    assert link.target.fields == ["/city", "/health/allergies"]
    await booth.links.revoke(desk.ann, link.id)
    assert await booth.links.follow(token) == LinkVerdict(LinkStanding.REVOKED, NOTHING)
    about = {
        "actor_id": desk.ann.principal_id,
        "resource": f"rec_{record.id.hex}",
        "version": 1,
    }
    assert await booth.entries() == [
        {"action": f"verification_link.{action}", **about} for action in ("create", "revoke")
    ]


async def test_it_counts_no_longer_than_its_creators_right_to_read_each_field(
    booth: Booth, make_scope: MakeScope
) -> None:
    desk = booth.desk
    record = await desk.records.ann(desk.ann)
    bob = await make_scope(desk.ann.tenant_id)
    city = await desk.share(record, bob, reading(["/city"]))
    health = await desk.share(record, bob, reading(["/health"]))
    tokens = [
        await mint(booth, bob, record, fields)
        for fields in (["/city"], ["/health/allergies"], FIELDS)
    ]
    await desk.grants.revoke(desk.ann, health.id)
    said = [await booth.links.follow(token) for token in tokens]
    assert [each.standing for each in said] == [
        LinkStanding.LIVE,
        LinkStanding.REVOKED,
        LinkStanding.REVOKED,
    ]
    assert said[1] == said[2] == LinkVerdict(LinkStanding.REVOKED, NOTHING)
    await desk.grants.revoke(desk.ann, city.id)
    assert await booth.links.follow(tokens[0]) == LinkVerdict(LinkStanding.REVOKED, NOTHING)
    await desk.records.records.delete(desk.ann, record.id, ANY)
    assert await booth.links.follow(tokens[0]) == LinkVerdict(LinkStanding.REVOKED, NOTHING)


async def test_only_who_may_read_the_fields_makes_one(booth: Booth, make_scope: MakeScope) -> None:
    desk = booth.desk
    record = await desk.records.ann(desk.ann)
    bob, eve = await make_scope(desk.ann.tenant_id), await make_scope()
    for nobody in (bob, eve):
        with pytest.raises(NotFoundError):
            await mint(booth, nobody, record)
    await desk.share(record, bob, Terms(frozenset({GrantAction.WRITE})))
    with pytest.raises(NotGrantedError):
        await mint(booth, bob, record)
    await desk.share(record, bob, reading(["/city"]))
    for fields in (["/name"], ["/city", "/name"], ["/none"]):
        with pytest.raises(FieldNotThereError):
            await mint(booth, bob, record, fields)
    with pytest.raises(OverlappingFieldsError):
        await mint(booth, desk.ann, record, ["/city", "/city"])
    with pytest.raises(FieldNotThereError):
        await mint(booth, desk.ann, record, ["/city", "/none"])
    with pytest.raises(NotFoundError):
        await mint(booth, desk.ann, record, number=2)
    assert await booth.entries() == []
    await mint(booth, bob, record, ["/city"])
    (entry,) = await booth.entries()
    assert entry["actor_id"] == bob.principal_id
