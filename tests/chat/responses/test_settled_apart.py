"""Whoever stops in a quota's window keeps no stream waiting: a response's end is kept before it is counted there."""

import asyncio
from contextlib import aclosing

from tests.chat.responses.test_sources import ANSWER, id_of, service
from tests.chat.responses.test_streams import PATIENT, asking, is_text, read, until
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import Gate, rolled_back, until_blocked, until_blocked_or_done
from undercroft.chat.streams.service import LEASE
from undercroft.kit.ids import IdSource
from undercroft.metering.models import Period, Quota, QuotaKind, Whose
from undercroft.metering.quotas import QuotaService
from undercroft.metering.service import Charge, UsageRounds


async def limit_tokens(shelf: Shelf, scope: Member) -> None:
    quota = Quota(Whose(QuotaKind.TENANT), Period.DAY, None, 1_000_000)
    await QuotaService(shelf.database, shelf.ledger).set(scope, quota)


async def used(shelf: Shelf, scope: Member) -> tuple[int | None, int | None]:
    (kept,) = await QuotaService(shelf.database, shelf.ledger).list_all(scope)
    return kept.requests, kept.tokens


async def test_streams_go_on_while_somebody_stays_in_a_window(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await limit_tokens(shelf, ann)
    gate = Gate()
    here, elsewhere = (
        service(shelf, ScriptedModel(*ANSWER, gate=gate), limits=PATIENT),
        service(shelf, ScriptedModel()),
    )
    stream = here.stream(ann, asking())
    async with aclosing(stream):
        seen = await until(stream, is_text)
        response_id = id_of(seen[0]["response"])
        lease = here.runs.running[response_id].lease
        async with rolled_back(shelf.database, ann) as transaction:
            # Somebody stops there.
            await Charge(ann).reserve(transaction, IdSource().new(), SCRIPTED, 1)
            gate.open()
            await until_blocked(shelf.database)
            for asked in (
                here._process.leases.renew([lease], LEASE),
                elsewhere._process.leases.attend([response_id]),
            ):
                task = asyncio.ensure_future(asked)
                assert not await until_blocked_or_done(shelf.database, task, 2)
            # Its end is kept, and seen by others before it is counted.
            ended = await read(elsewhere.watch(ann, response_id, -1))
            assert ended[-1]["type"] == "response.completed"
            # Here it is seen as soon as it is counted, or cannot be.
            rest = await read(stream)
        assert rest[-1] == ended[-1]
    usage = ended[-1]["response"]["usage"]
    rounds = UsageRounds(shelf.database)
    for _ in range(2):
        await rounds.add_up()
        assert await used(shelf, ann) == (1, usage["total_tokens"])
