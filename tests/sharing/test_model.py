"""Random histories of grants, consents, requests, groups, uses, time and reads, held against a small pure model."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, cast

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.database_server import fresh_database
from tests.sharing.histories.breaches import BREACHES, READING_BREACHES, Breach
from tests.sharing.histories.mutants import MUTANTS, READING_MUTANTS, Mutant
from tests.sharing.histories.reading import read
from tests.sharing.histories.tour import tour
from tests.sharing.machine import SharingMachine
from tests.sharing.twin.tenant import Twin, open_twin
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls

EXAMPLES: Final = int(os.environ.get("UNDERCROFT_TEST_SHARING_HISTORIES", "5"))
STEPS: Final = 40

History: TypeAlias = Callable[[Twin], Awaitable[None]]


def _name(tested: Mutant | Breach | History) -> str:
    if isinstance(tested, Mutant):
        return f"{tested.function}: {tested.clause}"
    return tested.name if isinstance(tested, Breach) else tested.__name__


async def _open(urls: DatabaseUrls, *statements: str) -> None:
    """Let the tests move time, and replace functions, which the service's login may not."""
    owner = await asyncpg.connect(urls.migration)
    try:
        for statement in (
            "GRANT UPDATE (not_before, expires_at) ON grants TO undercroft_app",
            "GRANT UPDATE (created_at, expires_at) ON access_requests TO undercroft_app",
            *statements,
        ):
            await owner.execute(statement)
    finally:
        await owner.close()


def test_random_histories_agree_with_the_model(
    database_server: DatabaseUrls, tmp_path: Path
) -> None:
    with asyncio.Runner() as runner:
        copies = fresh_database(database_server)
        urls = runner.run(copies.__aenter__())
        try:
            runner.run(_open(urls))
            database = runner.run(Database(urls.service, clock=SystemClock(), size=2).__aenter__())
            try:
                run_state_machine_as_test(
                    cast(
                        "type[SharingMachine]", partial(SharingMachine, runner, database, tmp_path)
                    ),
                    settings=settings(
                        max_examples=EXAMPLES,
                        stateful_step_count=STEPS,
                        deadline=None,
                        database=None,
                        # A suite that fails must fail again; more histories are others.
                        derandomize=True,
                        # A history that fails is short enough to be read as it is; each smaller one costs a second.
                        phases=(Phase.generate,),
                        suppress_health_check=(HealthCheck.too_slow,),
                    ),
                )
            finally:
                runner.run(database.__aexit__(None, None, None))
        finally:
            runner.run(copies.__aexit__(None, None, None))


@pytest.mark.parametrize("history", [tour, read], ids=_name)
async def test_a_history_agrees_with_the_model(
    database: Database, database_urls: DatabaseUrls, tmp_path: Path, history: History
) -> None:
    await _open(database_urls)
    await history(await open_twin(database, tmp_path))


@pytest.mark.parametrize(
    ("mutant", "history"),
    [
        *((mutant, tour) for mutant in MUTANTS),
        *((mutant, read) for mutant in READING_MUTANTS),
    ],
    ids=_name,
)
async def test_a_broken_policy_is_caught(
    database: Database,
    database_urls: DatabaseUrls,
    tmp_path: Path,
    mutant: Mutant,
    history: History,
) -> None:
    await _open(database_urls, mutant.statement)
    twin = await open_twin(database, tmp_path)
    with pytest.raises(AssertionError):
        await history(twin)


@pytest.mark.parametrize(
    ("breach", "history"),
    [
        *((breach, tour) for breach in BREACHES),
        *((breach, read) for breach in READING_BREACHES),
    ],
    ids=_name,
)
async def test_a_broken_service_is_caught(
    database: Database,
    database_urls: DatabaseUrls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    breach: Breach,
    history: History,
) -> None:
    await _open(database_urls, *(mutant.statement for mutant in breach.mutants))
    twin = await open_twin(database, tmp_path)
    for target, replacement in breach.patches:
        monkeypatch.setattr(target, replacement)
    with pytest.raises(AssertionError):
        await history(twin)
