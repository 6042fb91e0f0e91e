"""The administrator's statements in ``docs/postgresql.md`` make a server on which Undercroft migrates and starts."""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from undercroft.commands.databases import bring_up_to_date, external_urls
from undercroft.kit.clock import SystemClock
from undercroft.kit.migrations import load_migrations, migrations_folder
from undercroft.kit.postgres.bootstrap import Credentials
from undercroft.kit.postgres.server import EmbeddedPostgres
from undercroft.kit.preflight import PreflightError, check_server
from undercroft.kit.settings import Settings
from undercroft.kit.sql import AnyConnection

_PAGE = Path(__file__).parents[3] / "docs" / "postgresql.md"


def _statements() -> Iterator[str]:
    """The page's statements, for names that the embedded server does not use itself."""
    block = re.search(r"```sql\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    for line in block[1].replace("undercroft", "other").splitlines():
        yield line.removesuffix(";")


@asynccontextmanager
async def _administrator(folder: Path, socket: str, database: str) -> AsyncGenerator[AnyConnection]:
    password = Credentials.load(folder / "postgres" / "credentials.json").superuser
    connection = await asyncpg.connect(
        host=socket, user="postgres", password=password, database=database
    )
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.slow
async def test_the_documented_logins_migrate_and_serve(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path, clock=SystemClock(), durable=False) as urls:
        socket = parse_qs(urlsplit(urls.service).query)["host"][0]
        before, _, after = "\n".join(_statements()).partition("\\connect other\n")
        for database, statements in (("postgres", before), ("other", after)):
            async with _administrator(tmp_path, socket, database) as administrator:
                for statement in statements.splitlines():
                    await administrator.execute(statement)

        host = quote(socket, safe="")
        settings = Settings.model_validate(
            {
                "database_url": f"postgresql://other_service:replace-this-too@{host}/other",
                "migration_url": f"postgresql://other_owner:replace-this@{host}/other",
            }
        )
        external = external_urls(settings)
        applied = await bring_up_to_date(external, settings)
        assert len(applied) == len(load_migrations(migrations_folder()))
        await check_server(external.service)
        with pytest.raises(PreflightError, match="row-level security"):
            await check_server(external.migration)
