"""Named SQL statements, kept in ``queries.sql`` files beside the code that runs them.

The format is sqlc's: a statement follows a line ``-- name: get_document :one``, whose last word is its cardinality.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Record
from asyncpg.pool import PoolConnectionProxy

# Quoted: asyncpg's classes are generic for the type checker alone.
AnyConnection: TypeAlias = "Connection[Record] | PoolConnectionProxy[Record]"
PooledConnection: TypeAlias = "PoolConnectionProxy[Record]"

_HEADER: Final = re.compile(
    r"^-- name: (?P<name>[a-z][a-z0-9_]*) :(?P<cardinality>[a-z]+)\s*$", re.MULTILINE
)


class Cardinality(StrEnum):
    """What a statement answers."""

    ONE = "one"
    """Exactly one row."""
    MAYBE = "maybe"
    """One row or None."""
    MANY = "many"
    """Any number of rows."""
    VALUE = "value"
    """The first column of the first row, or None."""
    EXEC = "exec"
    """Nothing; the number of rows it touched."""


class NoRowError(LookupError):
    """A ``:one`` statement found no row."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One named statement."""

    name: str
    cardinality: Cardinality
    sql: str


class Queries(Mapping[str, Statement]):
    """The statements of one ``queries.sql``, run by name.

    Each method checks that the statement was declared with its cardinality, so that the file says truthfully how its
    statements are used.
    """

    def __init__(self, source: str, statements: Sequence[Statement]) -> None:
        self.source = source
        self._statements = {statement.name: statement for statement in statements}
        if len(self._statements) != len(statements):
            raise ValueError(f"{source}: two statements share a name")

    def __getitem__(self, name: str) -> Statement:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)

    def _sql(self, name: str, cardinality: Cardinality) -> str:
        statement = self._statements[name]
        if statement.cardinality is not cardinality:
            raise ValueError(
                f"{self.source}: {name} is :{statement.cardinality}, not :{cardinality}"
            )
        return statement.sql

    async def one(self, connection: AnyConnection, name: str, *arguments: object) -> Record:
        """Run a ``:one`` statement.

        Raises:
            NoRowError: When it answers no row.
        """
        row = await connection.fetchrow(self._sql(name, Cardinality.ONE), *arguments)
        if row is None:
            raise NoRowError(name)
        return row

    async def maybe(
        self, connection: AnyConnection, name: str, *arguments: object
    ) -> Record | None:
        """Run a ``:maybe`` statement."""
        return await connection.fetchrow(self._sql(name, Cardinality.MAYBE), *arguments)

    async def many(self, connection: AnyConnection, name: str, *arguments: object) -> list[Record]:
        """Run a ``:many`` statement."""
        return await connection.fetch(self._sql(name, Cardinality.MANY), *arguments)

    async def value(self, connection: AnyConnection, name: str, *arguments: object) -> Any:  # noqa: ANN401 - a column's type is the database's
        """Run a ``:value`` statement."""
        return await connection.fetchval(self._sql(name, Cardinality.VALUE), *arguments)

    async def execute(self, connection: AnyConnection, name: str, *arguments: object) -> int:
        """Run an ``:exec`` statement and return how many rows it touched."""
        tag = await connection.execute(self._sql(name, Cardinality.EXEC), *arguments)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0


def parse_statements(text: str, source: str) -> list[Statement]:
    """Split a ``queries.sql`` into its statements.

    Raises:
        ValueError: When there is no header, SQL precedes the first one, or a cardinality is unknown.
    """
    headers = list(_HEADER.finditer(text))
    if not headers:
        raise ValueError(f"{source}: no '-- name:' line")
    preamble = text[: headers[0].start()]
    if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
        raise ValueError(f"{source}: SQL before the first '-- name:' line")
    ends = [header.start() for header in headers[1:]] + [len(text)]
    return [
        Statement(
            header["name"],
            Cardinality(header["cardinality"]),
            text[header.end() : end].strip().removesuffix(";"),
        )
        for header, end in zip(headers, ends, strict=True)
    ]


def load_queries(package: str) -> Queries:
    """Load the ``queries.sql`` of a package, for example ``load_queries("undercroft.identity")``."""
    source = f"{package}/queries.sql"
    text = resources.files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    return Queries(source, parse_statements(text, source))
