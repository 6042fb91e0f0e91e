import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from undercroft.jobs.rounds import Rounds


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (asyncpg.AdminShutdownError("ending"), "round_postponed"),
        (ConnectionRefusedError(), "round_postponed"),
        (KeyError("a defect"), "round_failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_round_that_fails_is_told_and_followed_by_the_next(
    failure: Exception, event: str
) -> None:
    rounds = 0
    enough = asyncio.Event()

    async def chore() -> int:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise failure
        if rounds == 3:
            enough.set()
        return 7

    with capture_logs() as logs:
        running = asyncio.create_task(Rounds("tidy", chore, 0.0).run())
        async with asyncio.timeout(30):
            await enough.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [(log["event"], log["chore"]) for log in logs[:2]] == [
        (event, "tidy"),
        ("round_done", "tidy"),
    ]
    assert logs[1]["done"] == 7


async def test_a_round_with_nothing_to_do_is_not_worth_a_line() -> None:
    async def chore() -> int:
        return 0

    with capture_logs() as logs:
        await Rounds("tidy", chore, 0.0).go_round()
    assert logs == []
