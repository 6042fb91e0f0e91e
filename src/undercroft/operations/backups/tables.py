"""The tables that a backup holds: their columns, the order in which rows can be put back, and what lets them in."""

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
    "webhook_messages": "the queue: what is still to be told then is out of date",
    "webhook_deliveries": "the queue",
    "pending_events": "the queue",
    "letters": "the queue",
    "pending_vectors": "the queue: what is not outside yet is derived",
    "outside_index": "said by `undercroft migrate`; a restored database is another one, and keeps its own outside",
    "schema_migrations": "compared, not copied",
    "embedding_models": "registered by `undercroft migrate`",
    "embedding_choices": "of models of that installation: all is indexed again by this one's",
    "embedding_backfills": "derived",
    "index_rebuilds": "work in progress: a restored database has new indexes",
}
"""Tables that are not in a backup, each with its reason. Every other table is."""

# Not named queries: they change tables, which is the owner's, and what changes a table can be neither prepared nor
# explained. COPY FROM is refused under row-level security, and a trigger would make what the backup holds already.
# Locks keep a service that runs on this database out, and give up soon where one holds it.
_OPEN_TABLES: Final = """
DO $$
DECLARE
    opened regclass;
BEGIN
    SET LOCAL lock_timeout = '10s';
    FOR opened IN
        SELECT c.oid FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relrowsecurity
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', opened);
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', opened);
    END LOOP;
END
$$
"""
_CLOSE_TABLES: Final = """
DO $$
DECLARE
    closed regclass;
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    FOR closed IN
        SELECT c.oid FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relrowsecurity
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER USER', closed);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', closed);
    END LOOP;
END
$$
"""
_ADVANCE_SEQUENCES: Final = """
DO $$
DECLARE
    owned record;
    last bigint;
BEGIN
    FOR owned IN
        SELECT d.objid::regclass AS sequence, d.refobjid::regclass AS owner, a.attname AS owned_column
        FROM pg_depend AS d
        JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S' AND c.relnamespace = 'public'::regnamespace
        JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    LOOP
        EXECUTE format('SELECT max(%I) FROM %s', owned.owned_column, owned.owner) INTO last;
        IF last IS NOT NULL THEN
            PERFORM setval(owned.sequence, last);
        END IF;
    END LOOP;
END
$$
"""


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


async def open_tables(transaction: Transaction) -> None:
    """Let the owner copy rows into every table, until :func:`close_tables`."""
    await transaction.execute(_OPEN_TABLES)


async def close_tables(transaction: Transaction) -> None:
    """Check what was copied, have new rows numbered behind it, and protect every table again."""
    await transaction.execute(_ADVANCE_SEQUENCES)
    await transaction.execute(_CLOSE_TABLES)
