"""A database that would not bind the service by its policies, or does not answer, is refused with what to change."""

from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.database_server import withdraw_public_rights
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.preflight import PreflightError, check_server


async def test_the_services_plain_login_is_accepted(database_urls: DatabaseUrls) -> None:
    await withdraw_public_rights(database_urls)
    await check_server(database_urls.service)


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT TEMPORARY ON DATABASE {name} TO PUBLIC",
        "GRANT TEMPORARY ON DATABASE {name} TO {login}",
        "GRANT CREATE ON DATABASE {name} TO {login}",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO {login}",
    ],
)
async def test_a_login_that_may_create_objects_is_refused(
    database_urls: DatabaseUrls, grant: str
) -> None:
    name = urlsplit(database_urls.service).path.removeprefix("/")
    await withdraw_public_rights(database_urls)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute(grant.format(name=name, login=urlsplit(database_urls.service).username))
    finally:
        await owner.close()
    with pytest.raises(PreflightError, match=f'REVOKE CREATE, TEMPORARY ON DATABASE "{name}"'):
        await check_server(database_urls.service)


async def test_an_owner_is_refused(database_urls: DatabaseUrls) -> None:
    with pytest.raises(PreflightError, match="row-level security would not bind it"):
        await check_server(database_urls.migration)


async def test_a_wrong_password_is_said_without_it(database_urls: DatabaseUrls) -> None:
    login = str(urlsplit(database_urls.service).username)
    with pytest.raises(PreflightError, match="does not answer"):
        await check_server(database_urls.service.replace(login, "nobody-of-that-name"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@127.0.0.1:9/undercroft",
        "postgresql://ann:hunter2/x@127.0.0.1/undercroft",
        "postgresql://ann:hunter2@[::1/undercroft",
        "mysql://ann:hunter2@127.0.0.1/undercroft",
        "postgresql://ann:hunter2@127.0.0.1/undercroft?sslmode=maybe",
    ],
    ids=["nothing there", "unquoted password", "no address", "wrong scheme", "wrong option"],
)
async def test_what_cannot_be_reached_is_said_without_its_password(url: str) -> None:
    with pytest.raises(PreflightError, match="UNDERCROFT_DATABASE_URL") as refused:
        await check_server(url)
    assert "hunter2" not in str(refused.value)
