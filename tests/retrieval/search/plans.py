"""The plans of statements, those inside of functions too, as PostgreSQL itself reports them when they run."""

import asyncio
import json
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tests.conftest import Member
from undercroft.kit.database import Transaction, set_scope
from undercroft.kit.postgres.bootstrap import SUPERUSER, Credentials, database_url
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection


@dataclass(frozen=True, slots=True)
class Planned:
    """How something ran.

    Attributes:
        answer: What came of it.
        nodes: Every node of the plans of all its statements.
    """

    answer: Any
    nodes: Sequence[Mapping[str, Any]]

    @property
    def indexes(self) -> set[str]:
        """The indexes that were looked into."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    def read_through(self, tables: Set[str]) -> set[str]:
        """Which of the tables, or of their indexes, were read from one end to the other."""
        whole = {
            node["Index Name"]
            for node in self.nodes
            if "Index Name" in node and not {"Index Cond", "Order By"} & node.keys()
        }
        return whole | {
            node["Relation Name"]
            for node in self.nodes
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in tables
        }


class Plans:
    """A transaction as the service's role, whose statements report how they run."""

    def __init__(self, connection: AnyConnection) -> None:
        self._connection = connection
        self._reported: list[dict[str, Any]] = []
        connection.add_log_listener(self._listen)

    async def of(self, member: Member, work: Callable[[Transaction], Awaitable[object]]) -> Planned:
        """How something runs for somebody."""
        # Of a pool's connection it has all that statements are run with.
        transaction = cast("Transaction", self._connection)
        await set_scope(transaction, member)
        await self._settle()
        self._reported.clear()
        answer = await work(transaction)
        await self._settle()
        return Planned(answer, [node for plan in self._reported for node in _walk(plan)])

    async def _settle(self) -> None:
        """A plan is reported when the next statement closes its own, and told in the loop's next turn."""
        await self._connection.execute("SHOW application_name")
        await asyncio.sleep(0)

    def _listen(self, _: object, message: Any) -> None:  # noqa: ANN401 - asyncpg's own, without a type
        _, is_plan, plan = message.message.partition("plan:\n")
        if is_plan:
            self._reported.append(json.loads(plan)["Plan"])


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _walk(inner)


def superuser_url(urls: DatabaseUrls) -> str:
    """The superuser's login to the same database of an embedded server."""
    parts = urlsplit(urls.service)
    socket_folder = Path(parse_qs(parts.query)["host"][0])
    credentials = Credentials.load(socket_folder.parent / "credentials.json")
    return database_url(
        SUPERUSER, credentials.superuser, socket_folder, parts.path.removeprefix("/")
    )


@asynccontextmanager
async def planning(urls: DatabaseUrls) -> AsyncGenerator[Plans]:
    """A transaction as the service's role, whose statements report how they run."""
    connection = await asyncpg.connect(superuser_url(urls))
    try:
        await connection.execute(_REPORT)
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {urlsplit(urls.service).username}")
            yield Plans(connection)
    finally:
        await connection.close()


_REPORT = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_format = json;
SET auto_explain.log_level = notice
"""
