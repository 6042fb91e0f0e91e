"""A database that would not bind the service by its policies, or does not answer, is refused with what to change."""

from urllib.parse import urlsplit

import pytest

from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.preflight import PreflightError, check_server


async def test_the_services_plain_login_is_accepted(database_urls: DatabaseUrls) -> None:
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
