"""A link opens for whoever holds its token, knows its passcode and gets its mail: once, or until it is over."""

import asyncio
import re
from dataclasses import replace

import pytest

from tests.identity.accounts.conftest import Letterbox
from tests.sharing.conftest import READ, SHARE, Office
from tests.sharing.links.conftest import PASSCODE, opened
from tests.stepping import until_blocked, until_blocked_or_done
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.models import Kind
from undercroft.identity.service import IdentityService
from undercroft.kit.errors import InvalidRequestError
from undercroft.sharing.errors import WideningError
from undercroft.sharing.links.errors import LinkNotFoundError, LinkRefusedError
from undercroft.sharing.links.models import CodeSent, LinkTerms, RedeemedLink
from undercroft.sharing.links.service import ShareLinks
from undercroft.sharing.models import GrantAction, Terms

EMAIL = "guest@example.org"


async def test_its_holder_may_do_what_its_grant_allows_and_no_more(
    office: Office, links: ShareLinks, identity: IdentityService
) -> None:
    document, other = await office.put_document(office.ann), await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ))
    redeemed = await opened(links, link.token)
    principal = await identity.authenticate(redeemed.access_token)
    assert (principal.kind, principal.user_id) == (Kind.LINK, link.id)
    holder = replace(office.bob, principal_id=principal.user_id)
    assert await office.ways(holder, document)
    assert not await office.ways(holder, document, GrantAction.DOWNLOAD)
    assert not await office.ways(holder, other)


async def test_a_revoked_link_neither_opens_nor_stays_open(
    office: Office, links: ShareLinks, identity: IdentityService
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ))
    redeemed = await opened(links, link.token)
    await office.grants.revoke(office.ann, link.grant.id)
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(redeemed.access_token)
    with pytest.raises(LinkNotFoundError):
        await links.redeem(link.token, None, None)


async def test_a_link_that_is_revoked_while_it_opens_does_not_stay_open(
    office: Office, links: ShareLinks, identity: IdentityService
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ))
    async with office.database.transaction(office.ann) as holding:
        # What its token refers to: so it has looked, and has not kept the token yet.
        await holding.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", link.id)
        redeeming = asyncio.create_task(links.redeem(link.token, None, None))
        await until_blocked(office.database)
        revoking = asyncio.create_task(office.grants.revoke(office.ann, link.grant.id))
        await until_blocked_or_done(office.database, revoking, 2)
    await revoking
    redeemed = await redeeming
    assert isinstance(redeemed, RedeemedLink)
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(redeemed.access_token)


async def test_its_last_use_ends_its_tokens_and_does_not_cut_itself(
    office: Office, links: ShareLinks, identity: IdentityService
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(replace(READ, max_uses=2)))
    redeemed = [await opened(links, link.token) for _ in range(2)]
    holder = replace(office.bob, principal_id=link.id)
    for uses_left in (1, 0):
        async with office.database.transaction(holder) as transaction:
            assert await transaction.fetchval("SELECT use_grants($1)", [link.grant.id])
        for each in redeemed:
            if uses_left:
                await identity.authenticate(each.access_token)
            else:
                with pytest.raises(UnauthenticatedError):
                    await identity.authenticate(each.access_token)
    async with office.database.transaction(holder) as transaction:
        ending = await transaction.fetchrow(
            "SELECT ending, cut_at FROM grants WHERE id = $1", link.grant.id
        )
    # What cuts is that it was ended otherwise, or once more: the last use goes on.
    assert ending is not None
    assert tuple(ending) == ("used_up", None)


@pytest.mark.parametrize("token", ["", "ul_", "ul_" + "x" * 43, "uk_aaaaaaaa_" + "x" * 43])
async def test_what_is_no_link_does_not_open(links: ShareLinks, token: str) -> None:
    with pytest.raises(LinkNotFoundError):
        await links.redeem(token, None, None)


async def test_of_two_who_open_a_link_for_one_use_one_gets_in(
    office: Office, links: ShareLinks
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ, is_one_time=True))
    async with office.database.transaction(office.ann) as transaction:
        await transaction.execute("SELECT FROM share_links WHERE id = $1 FOR UPDATE", link.id)
        both = [asyncio.create_task(links.redeem(link.token, None, None)) for _ in range(2)]
        await until_blocked(office.database, 2)
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        "LinkNotFoundError",
        "RedeemedLink",
    ]


async def test_a_passcode_is_needed_and_guesses_end_the_link(
    office: Office, links: ShareLinks
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ, passcode=PASSCODE))
    await opened(links, link.token, PASSCODE)
    for guess in (None, *(f"guess {number}" for number in range(9))):
        with pytest.raises(LinkRefusedError):
            await links.redeem(link.token, guess, None)
    with pytest.raises(LinkNotFoundError):
        await links.redeem(link.token, PASSCODE, None)


async def test_guesses_at_once_are_guesses_in_a_row(office: Office, links: ShareLinks) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ, passcode=PASSCODE))
    guesses = [links.redeem(link.token, f"guess {number}", None) for number in range(20)]
    refused = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(result, LinkRefusedError) for result in refused) == 10
    assert sum(isinstance(result, LinkNotFoundError) for result in refused) == 10


async def test_a_code_by_mail_opens_it_once(
    office: Office, links: ShareLinks, letters: Letterbox
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ, email=EMAIL))
    with pytest.raises(LinkRefusedError):
        await links.redeem(link.token, None, "00000000")
    assert isinstance(await links.redeem(link.token, None, None), CodeSent)
    [letter] = letters.letters
    assert letter.to == EMAIL
    [code] = re.findall(r"\b[0-9]{8}\b", letter.text)
    assert isinstance(await links.redeem(link.token, None, code), RedeemedLink)
    with pytest.raises(LinkRefusedError):
        await links.redeem(link.token, None, code)


async def test_of_two_who_bring_one_code_at_once_one_gets_in(
    office: Office, links: ShareLinks, letters: Letterbox
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ, email=EMAIL))
    await links.redeem(link.token, None, None)
    [code] = re.findall(r"\b[0-9]{8}\b", letters.letters[0].text)
    async with office.database.transaction(office.ann) as transaction:
        await transaction.execute("SELECT FROM share_links WHERE id = $1 FOR UPDATE", link.id)
        both = [asyncio.create_task(links.redeem(link.token, None, code)) for _ in range(2)]
        # Both have read the code by then, and neither has used it.
        await until_blocked(office.database, 2)
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        "LinkNotFoundError",
        "RedeemedLink",
    ]


async def test_an_old_code_opens_nothing(
    office: Office, links: ShareLinks, letters: Letterbox
) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(READ, email=EMAIL))
    await links.redeem(link.token, None, None)
    await office.execute(office.ann, "UPDATE share_links SET code_expires_at = now()")
    [code] = re.findall(r"\b[0-9]{8}\b", letters.letters[0].text)
    with pytest.raises(LinkRefusedError):
        await links.redeem(link.token, None, code)


async def test_its_holder_makes_a_narrower_one(office: Office, links: ShareLinks) -> None:
    document = await office.put_document(office.ann)
    link = await links.create(office.ann, document, LinkTerms(SHARE))
    holder = replace(office.bob, principal_id=link.id)
    narrower = await links.create(holder, document, LinkTerms(READ))
    with pytest.raises(WideningError):
        await links.create(holder, document, LinkTerms(Terms(frozenset({GrantAction.DOWNLOAD}))))
    await opened(links, narrower.token)
    await office.grants.revoke(office.ann, link.grant.id)
    with pytest.raises(LinkNotFoundError):
        await links.redeem(narrower.token, None, None)


async def test_nobody_writes_by_a_link(office: Office, links: ShareLinks) -> None:
    document = await office.put_document(office.ann)
    with pytest.raises(InvalidRequestError):
        await links.create(office.ann, document, LinkTerms(Terms(frozenset({GrantAction.WRITE}))))


async def test_no_secret_of_a_link_is_in_the_database(
    office: Office, links: ShareLinks, letters: Letterbox
) -> None:
    document = await office.put_document(office.ann)
    wanted = LinkTerms(READ, passcode=PASSCODE, email=EMAIL)
    link = await links.create(office.ann, document, wanted)
    await links.redeem(link.token, PASSCODE, None)
    [code] = re.findall(r"\b[0-9]{8}\b", letters.letters[0].text)
    async with office.database.transaction(office.ann) as transaction:
        row = str(await transaction.fetchrow("SELECT * FROM share_links"))
    for secret in (link.token, PASSCODE, EMAIL, code):
        assert secret not in row
