"""What is hidden and what is not there take the same statements, so that no time tells one from the other."""

from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import scope_maker
from tests.ledger.test_denials import OverheardDatabase
from tests.sharing.conftest import READ, SHARE, Office, open_office, to
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.access import AccessService
from undercroft.sharing.models import Resource

PAGE = UUID(int=1)


@pytest.fixture
async def overheard(database_urls: DatabaseUrls) -> AsyncGenerator[OverheardDatabase]:
    async with OverheardDatabase(database_urls.service) as opened:
        yield opened


async def ask(office: Office, question: str, resource: Resource, grant_id: UUID) -> None:
    """What somebody asks who has no way to the thing."""
    if question == "list grants":
        await office.grants.list_of(office.bob, resource, limit=9)
    elif question == "list more grants":
        await office.grants.list_of(office.bob, resource, after=PAGE, limit=9)
    elif question == "share":
        await office.grants.create(office.bob, resource, to(office.cem), READ)
    elif question == "read a grant":
        await office.grants.get(office.bob, grant_id)
    else:
        access = AccessService(office.database, office.ledger)
        if question == "check oneself":
            await access.explain(office.bob, resource)
        elif question == "check another":
            await access.explain(office.bob, resource, office.cem.principal_id)
        else:
            await access.list_principals(office.bob, resource, after=None, limit=9)


@pytest.mark.parametrize(
    "question",
    [
        "list grants",
        "list more grants",
        "share",
        "read a grant",
        "check oneself",
        "check another",
        "list who sees it",
    ],
)
async def test_what_is_not_there_takes_the_statements_of_what_is_hidden(
    overheard: OverheardDatabase, tmp_path: Path, question: str
) -> None:
    office = await open_office(overheard, tmp_path, scope_maker(overheard))
    hidden = await office.put_document(office.ann)
    grant = await office.share(office.ann, hidden, office.dee, SHARE)
    missing = Resource(hidden.kind, IdSource().new())
    heard: list[list[str]] = []
    # The first time fills what is cached of the log.
    for resource, grant_id in ((hidden, grant.id), (hidden, grant.id), (missing, missing.id)):
        overheard.heard.clear()
        with pytest.raises(NotFoundError):
            await ask(office, question, resource, grant_id)
        heard.append(list(overheard.heard))
    assert heard[1]
    assert heard[2] == heard[1]
