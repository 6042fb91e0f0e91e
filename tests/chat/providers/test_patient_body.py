"""A body is waited for as long as there is patience, by one timer, and nothing else counts as waiting."""

import asyncio
import gc
import weakref

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from undercroft.chat.providers.budgets import Budgets, Patience
from undercroft.chat.providers.patient_body import PatientBody
from undercroft.kit.clock import SystemClock

SOON = 0.01
LATE = 3600.0
PATIENCE = 30.0


def body_of(
    content: aiohttp.StreamReader, *, first_token: float, between_tokens: float = LATE
) -> tuple[PatientBody, Patience]:
    budgets = Budgets(first_token=first_token, between_tokens=between_tokens)
    patience = Patience(SystemClock(), budgets)
    return PatientBody(content, patience), patience


def stream() -> aiohttp.StreamReader:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return aiohttp.StreamReader(protocol, limit=2**16, loop=loop)


async def test_who_says_nothing_is_given_up() -> None:
    body, _ = body_of(stream(), first_token=SOON)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(TimeoutError):
            await body.read()
    body.close()


async def test_a_time_that_becomes_shorter_counts() -> None:
    content = stream()
    body, patience = body_of(content, first_token=LATE, between_tokens=SOON)
    content.feed_data(b"begun")
    assert await body.read() == b"begun"
    patience.renew()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(TimeoutError):
            await body.read()
    body.close()


async def test_a_time_that_is_prolonged_counts() -> None:
    content = stream()
    body, patience = body_of(content, first_token=SOON)
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    patience.renew()
    await timers_due_after(SOON)
    content.feed_data(b"late")
    assert await reading == b"late"
    body.close()


async def test_what_is_done_between_two_reads_takes_no_patience() -> None:
    content = stream()
    body, _ = body_of(content, first_token=SOON)
    content.feed_data(b"first")
    assert await body.read() == b"first"
    await timers_due_after(SOON)
    content.feed_data(b"second")
    assert await body.read() == b"second"
    body.close()


async def test_a_closed_one_leaves_no_timer() -> None:
    content = stream()
    body, _ = body_of(content, first_token=LATE)
    content.feed_data(b"all")
    assert await body.read() == b"all"
    body.close()
    left = weakref.ref(body)
    del body
    gc.collect()
    assert left() is None


async def timers_due_after(seconds: float) -> None:
    """Once whatever was to happen in so many seconds has happened: timers go off in their order."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * seconds, passed.set)
    async with asyncio.timeout(PATIENCE):
        await passed.wait()
