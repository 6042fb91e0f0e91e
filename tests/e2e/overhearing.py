"""What the service says to its database while it answers: the application in this process, over another one's data."""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2 as httpx
import pytest
from asyncpg.connection import LoggedQuery

from undercroft.http.app import create_application
from undercroft.http.wiring import foundation
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.kit.settings import Settings

_ID: Final = re.compile(r"([a-z]+[_-])[0-9a-f]{32}")
_WORK: Final = """
SELECT relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0), n_tup_ins + n_tup_upd + n_tup_del
FROM pg_stat_xact_user_tables
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a request made the service say to its database.

    Attributes:
        statements: Their texts.
        work: How often each table was looked into, and how many of its rows were written, in transactions.
    """

    statements: list[str] = field(default_factory=list[str])
    work: Counter[str] = field(default_factory=Counter[str])


_HEARD: Final[ContextVar[Heard | None]] = ContextVar("heard", default=None)


class _OverheardDatabase(Database):
    """Keeps what is said to it for a request that is listened to; what runs beside is not heard."""

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Transaction]:
        heard = _HEARD.get()
        async with super()._connection() as connection:
            if heard is None:
                yield connection
                return

            def hear(query: LoggedQuery) -> None:
                if query.query != _WORK:
                    heard.statements.append(query.query)

            with connection.query_logger(hear):
                yield connection

    @asynccontextmanager
    async def _own_transaction(self, scope: Scope) -> AsyncGenerator[Transaction]:
        heard = _HEARD.get()
        async with super()._own_transaction(scope) as transaction:
            before = Counter[str]() if heard is None else await _count_work(transaction)
            try:
                yield transaction
            finally:
                if heard is not None:
                    heard.work.update(await _count_work(transaction) - before)


async def _count_work(transaction: Transaction) -> Counter[str]:
    """What the connection has done and not told the common statistics yet, in transactions before this one as well."""
    work = Counter[str]()
    for table, looks, written in await transaction.fetch(_WORK):
        work.update({f"looks into {table}": looks, f"rows of {table}": written})
    return work


class Overheard:
    """A client of the application, which hears what each request makes it say."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(
        self,
        authorization: str,
        method: str,
        url: str,
        **request: Any,  # noqa: ANN401 - of a request
    ) -> tuple[int, Heard]:
        """The status of the answer, and what was said for it. Statements are sorted: some are made at once."""
        headers = {"Authorization": authorization, **request.pop("headers", {})}
        heard = Heard()
        token = _HEARD.set(heard)
        try:
            answer = await self._client.request(method, url, headers=headers, **request)
        finally:
            _HEARD.reset(token)
        heard.statements.sort()
        return answer.status_code, heard


@asynccontextmanager
async def overheard_application(settings: Settings, database_url: str) -> AsyncGenerator[Overheard]:
    """The application over a database that another service runs on as well."""

    async def running() -> str | None:
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foundation, "Database", _OverheardDatabase)
        application = create_application(settings, database_url, running)
        async with application.router.lifespan_context(application):
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1"
            ) as client:
                yield Overheard(client)


def is_id(text: str) -> bool:
    """Whether something is named by it, and might as well not be there."""
    return _ID.fullmatch(text) is not None


def without(things: Mapping[str, str], *gone: str) -> dict[str, str]:
    """The same things, but for those that are named there is nothing under the id."""
    return {
        name: _ID.sub(lambda match: f"{match[1]}{IdSource().new().hex}", value)
        if name in gone
        else value
        for name, value in things.items()
    }
