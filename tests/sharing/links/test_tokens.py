"""Links are introspected like other tokens, and ended by whoever may end their grants: not by one of many holders."""

from dataclasses import replace

import pytest

from tests.conftest import MakeScope, Member
from tests.sharing.conftest import READ, SHARE, Office
from tests.sharing.links.conftest import PASSCODE, opened
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.models import Kind, Principal, Role
from undercroft.identity.service import IdentityService
from undercroft.sharing.links.errors import LinkNotFoundError, LinkRefusedError, OthersLinkError
from undercroft.sharing.links.models import LinkTerms
from undercroft.sharing.links.service import ShareLinks
from undercroft.sharing.links.tokens import LinkTokens


@pytest.fixture
def tokens(office: Office) -> LinkTokens:
    return LinkTokens(office.database, office.grants)


def caller(member: Member) -> Principal:
    """Somebody of the tenant, with a credential that is not narrowed."""
    return Principal(
        member.tenant_id, member.principal_id, member.principal_id, Role.MEMBER, Kind.PERSON
    )


async def test_a_link_is_active_as_long_as_it_opens(
    office: Office, links: ShareLinks, tokens: LinkTokens, make_scope: MakeScope
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ))
    asking = caller(office.bob)
    found = await tokens.introspect(asking, link.token)
    assert found is not None
    assert (found.principal.kind, found.principal.user_id) == (Kind.LINK, link.id)
    assert found.expires_at == link.grant.terms.expires_at
    # To be asked about is not to be redeemed.
    once = await links.create(office.ann, document, LinkTerms(READ, is_one_time=True))
    assert await tokens.introspect(asking, once.token) is not None
    await opened(links, once.token)
    assert await tokens.introspect(asking, once.token) is None
    await office.grants.revoke(office.ann, link.grant.id)
    assert await tokens.introspect(asking, link.token) is None
    stranger = caller(await make_scope())
    assert await tokens.introspect(stranger, link.token) is None
    for nothing in ("ul_", f"ul_{'x' * 43}", "", "\ud800"):
        assert await tokens.introspect(asking, nothing) is None


async def test_one_that_was_guessed_at_too_often_is_not_active(
    office: Office, links: ShareLinks, tokens: LinkTokens
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ, passcode=PASSCODE))
    for _ in range(10):
        assert await tokens.introspect(caller(office.bob), link.token) is not None
        with pytest.raises(LinkRefusedError):
            await links.redeem(link.token, "wrong", None)
    assert await tokens.introspect(caller(office.bob), link.token) is None


async def test_whoever_made_it_or_owns_what_it_is_to_ends_it_with_its_tokens(
    office: Office, links: ShareLinks, tokens: LinkTokens, identity: IdentityService
) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob, SHARE)
    for giver, ender in (
        (office.ann, office.ann),
        (office.bob, office.bob),
        (office.bob, office.ann),
    ):
        link = await links.create(giver, document, LinkTerms(READ, is_one_time=True))
        redeemed = await opened(links, link.token)
        await tokens.revoke(caller(ender), link.token)
        with pytest.raises(UnauthenticatedError):
            await identity.authenticate(redeemed.access_token)
        # Once more, and what is none, ends nothing and is no error.
        await tokens.revoke(caller(ender), link.token)
    await tokens.revoke(caller(office.bob), f"ul_{'x' * 43}")


async def test_who_only_holds_it_does_not_end_it_for_the_others(
    office: Office, links: ShareLinks, tokens: LinkTokens, make_scope: MakeScope
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ))
    with pytest.raises(OthersLinkError):
        await tokens.revoke(caller(office.bob), link.token)
    assert await office.denials() == [(office.bob.principal_id, "grant.revoke")]
    holder = replace(caller(office.bob), user_id=link.id, kind=Kind.LINK)
    with pytest.raises(OthersLinkError):
        await tokens.revoke(holder, link.token)
    await tokens.revoke(caller(await make_scope()), link.token)
    await opened(links, link.token)
    await tokens.revoke(caller(office.ann), link.token)
    with pytest.raises(LinkNotFoundError):
        await links.redeem(link.token, None, None)
