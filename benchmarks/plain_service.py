"""Undercroft's command line, but for one thing: a record is read from a table in the clear, and put on no record.

The floor of ``bench_records.py``: the same route, framework, access check, pool and row-level security.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from undercroft import cli
from undercroft.commands import serve
from undercroft.http.app import create_application
from undercroft.http.health import ReadinessCheck
from undercroft.kit.batches import Batches
from undercroft.kit.database import Database, Scope
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.settings import Settings
from undercroft.sharing.models import ModelUse
from undercroft.vault.records.models import Record
from undercroft.vault.records.service import RecordService

TABLE = """
CREATE TABLE plain_records (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, owner_id uuid NOT NULL, data jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
POLICIES = """
ALTER TABLE plain_records ENABLE ROW LEVEL SECURITY;
ALTER TABLE plain_records FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON plain_records TO undercroft_app USING (tenant_id = (SELECT current_tenant()));
GRANT SELECT ON plain_records TO undercroft_app;
"""
_READ = """
SELECT id, owner_id, data, created_at FROM plain_records WHERE id = ANY($1::uuid[]) AND owner_id = current_principal()
"""

_LARGEST_BATCH = 16


class PlainRecords(RecordService):
    """Reads what nobody has encrypted."""

    def __init__(self, database: Database) -> None:
        self._plain = database
        self._batches: Batches[Scope, UUID, Record] = Batches(self._read_batch, _LARGEST_BATCH)

    async def get(
        self,
        scope: Scope,
        record_id: UUID,
        version: int | None = None,
        model_use: frozenset[ModelUse] = frozenset(),
    ) -> Record:
        del version, model_use  # it has one version, and nobody shares it
        return await self._batches.ask(scope, record_id)

    async def _read_batch(
        self, scope: Scope, wanted: Sequence[UUID]
    ) -> list[Record | UndercroftError]:
        async with self._plain.transaction(scope) as transaction:
            rows = await transaction.fetch(_READ, wanted)
        found = {
            row["id"]: Record(
                *(row["id"], row["owner_id"], row["id"], 1, 1, 1, row["data"]),
                *(row["created_at"], row["created_at"], {}),
            )
            for row in rows
        }
        return [found.get(key) or NotFoundError("record", str(key)) for key in wanted]


def create_plain_application(
    settings: Settings, database_url: str, worker_check: ReadinessCheck
) -> FastAPI:
    application = create_application(settings, database_url, worker_check)
    opened = application.router.lifespan_context

    @asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncGenerator[Any]:
        async with opened(started) as state:
            services = started.state.services
            records = PlainRecords(services.records._database)  # noqa: SLF001
            started.state.services = replace(services, records=records)
            yield state

    application.router.lifespan_context = lifespan
    return application


if __name__ == "__main__":
    serve.create_application = create_plain_application
    cli.main()
