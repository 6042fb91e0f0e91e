"""Undercroft's command line, but for one thing: a record's data is read from a table in the clear, and not ledgered.

The floor of ``bench_records.py``: the same route, framework, versions, grants, pool, batches and row-level security.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from undercroft import cli
from undercroft.commands import serve
from undercroft.http.app import create_application
from undercroft.http.health import ReadinessCheck
from undercroft.kit.batches import Batches
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.scope import Scope
from undercroft.kit.settings import Settings
from undercroft.sharing.models import ModelUse
from undercroft.vault.records.access import read_record_access
from undercroft.vault.records.models import Record, Wanted
from undercroft.vault.records.reading import RecordReading

TABLE = """
CREATE TABLE plain_parts (
    tenant_id uuid NOT NULL, record_id uuid NOT NULL, version int NOT NULL, data jsonb NOT NULL,
    PRIMARY KEY (record_id, version)
)
"""
POLICIES = """
ALTER TABLE plain_parts ENABLE ROW LEVEL SECURITY;
ALTER TABLE plain_parts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON plain_parts TO undercroft_app USING (tenant_id = (SELECT current_tenant()));
GRANT SELECT ON plain_parts TO undercroft_app;
"""
# As list_parts in undercroft.vault.records, without the keys.
_READ = """
WITH admitted AS MATERIALIZED (
    SELECT
        w.place, r.id, r.owner_id, r.schema_id, r.current_version, r.created_at, v.number AS version, v.schema_version,
        v.created_at AS updated_at, r.owner_id = current_principal() AS is_own,
        CASE WHEN r.owner_id <> current_principal() THEN ways_to_record(r.id, v.number, ARRAY['read']) END AS ways
    FROM unnest($1::uuid[]) WITH ORDINALITY AS w (record_id, place)
    INNER JOIN records AS r ON w.record_id = r.id
    INNER JOIN record_versions AS v ON r.id = v.record_id AND r.current_version = v.number
)
SELECT a.*, p.data
FROM admitted AS a
INNER JOIN plain_parts AS p ON a.id = p.record_id AND a.version = p.version
WHERE a.is_own OR a.ways IS NOT NULL
ORDER BY a.place
"""

_LARGEST_BATCH = 16


class PlainReading(RecordReading):
    """Reads the latest versions of records that nobody has encrypted."""

    def __init__(self, database: Database) -> None:
        self._plain = database
        self._batches: Batches[Scope, Wanted, Record] = Batches(self._read_batch, _LARGEST_BATCH)

    async def read(
        self,
        scope: Scope,
        record_id: UUID,
        version: int | None,
        model_use: frozenset[ModelUse] = frozenset(),
    ) -> Record:
        del version, model_use  # each has one version, and nobody shows it to a model
        return await self._batches.ask(scope, Wanted(record_id))

    async def _read_batch(
        self, scope: Scope, wanted: Sequence[Wanted]
    ) -> list[Record | UndercroftError]:
        async with self._plain.transaction(scope) as transaction:
            rows = await transaction.fetch(_READ, [asked.record_id for asked in wanted])
        found = {
            row["id"]: Record(
                *(row["id"], row["owner_id"], row["schema_id"], row["schema_version"]),
                *(row["version"], row["current_version"], row["data"]),
                *(row["created_at"], row["updated_at"], {}, read_record_access(row["ways"])),
            )
            for row in rows
        }
        return [
            found.get(asked.record_id) or NotFoundError("record", str(asked.record_id))
            for asked in wanted
        ]


def create_plain_application(
    settings: Settings, database_url: str, worker_check: ReadinessCheck
) -> FastAPI:
    application = create_application(settings, database_url, worker_check)
    opened = application.router.lifespan_context

    @asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncGenerator[Any]:
        async with opened(started) as state:
            services = started.state.services
            database = services.vault.records._database  # noqa: SLF001
            services.vault.records._reading = PlainReading(database)  # noqa: SLF001
            yield state

    application.router.lifespan_context = lifespan
    return application


if __name__ == "__main__":
    serve.create_application = create_plain_application
    cli.main()
