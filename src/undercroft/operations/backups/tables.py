"""Which tables a backup holds, with which columns, and in which order their rows can be put back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Final

from undercroft.kit.database import Transaction
from undercroft.operations.backups.repository import BackupRepository

LEFT_OUT: Final[Mapping[str, str]] = {
    "chunks": "derived: index jobs make it again",
    "chunk_embeddings": "derived",
    "term_statistics": "derived",
    "corpus_statistics": "derived",
    "user_usage": "derived: counted again",
    "tenant_usage": "derived",
    "jobs": "the queue: what is still needed is queued again",
    "pgqueuer": "the queue",
    "pgqueuer_log": "the queue",
    "pgqueuer_schedules": "the queue",
    "pgqueuer_statistics": "the queue",
    "schema_migrations": "compared, not copied",
    "embedding_models": "registered by `undercroft migrate`",
}
"""Tables that are not in a backup, each with its reason. Every other table is."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is in backups."""

    name: str
    columns: tuple[str, ...]


async def list_tables(transaction: Transaction) -> Sequence[Table]:
    """The tables of this database that are in backups, each after those that it refers to."""
    repository = BackupRepository()
    columns: dict[str, list[str]] = {}
    for table, column in await repository.list_columns(transaction):
        if table not in LEFT_OUT:
            columns.setdefault(table, []).append(column)
    graph: dict[str, set[str]] = {table: set() for table in columns}
    for table, referenced in await repository.list_references(transaction):
        if table in graph and referenced in graph and referenced != table:
            graph[table].add(referenced)
    return [Table(name, tuple(columns[name])) for name in TopologicalSorter(graph).static_order()]
