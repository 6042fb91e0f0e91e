"""A last use that still runs rests on consent as every other does: it is cut when that goes, and it goes on record."""

from dataclasses import replace

import pytest

from tests.sharing.consents.conftest import READ, Practice
from undercroft.sharing.models import Ending, Release
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.watching import WatchedGrants


@pytest.mark.parametrize("lost", ["withdrawn", "withdrawn with all", "marked"])
async def test_a_last_use_is_cut_with_its_consent(practice: Practice, lost: str) -> None:
    document = await practice.put_document()
    consent_id = None
    if lost != "marked":
        await practice.subjects.mark(practice.ann, document, practice.bob.email)
        consent_id = (await practice.agree(document, practice.bob)).consent.id
    grant = await practice.share(document, practice.cem, replace(READ, max_uses=1))
    cem = replace(practice.cem, purpose="second-opinion")
    [way] = await practice.ways(cem, document)
    async with practice.database.transaction(cem) as transaction:
        await GrantUses().count(transaction, way)
    watched = WatchedGrants(practice.database)
    cuts: list[bool] = []
    with watched.register(cem, [Release(document.id, way)], lambda _: cuts.append(True)):
        assert await watched.check() == 0
        if lost == "withdrawn":
            assert consent_id is not None
            await practice.consents.withdraw(practice.bob, consent_id)
        elif lost == "withdrawn with all":
            await practice.consents.withdraw_all(practice.bob)
        else:
            await practice.subjects.mark(practice.ann, document, practice.bob.email)
        assert await watched.check() == 1
    assert cuts == [True]
    seen = await practice.grants.get(practice.ann, grant.id)
    assert (seen.ending, seen.cut_at is not None) == (Ending.USED_UP, True)
    assert (await practice.actions()).count("grant.revoke") == 1
