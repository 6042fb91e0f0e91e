"""A cancelled response: the model is told at once, and nothing of it is kept before it is on record who wanted that."""

import asyncio

from tests.chat.responses.test_sources import id_of, service
from tests.chat.responses.test_streams import in_background, is_text, until
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import until_blocked
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls

HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER held AFTER UPDATE OF cancel_requested_at ON response_streams
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();
"""


async def test_the_model_is_told_before_the_cancel_is_on_the_disk(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = ScriptedModel("One", endless=True)
    responses = service(shelf, model)
    begun = id_of(await responses.begin(ann, in_background()))
    await until(responses.watch(ann, begun, -1), is_text)
    async with (
        Database(database_urls.migration, clock=SystemClock(), size=1) as owner,
        Database(database_urls.service, clock=SystemClock(), size=1) as observer,
    ):
        async with owner.transaction_without_scope() as transaction:
            await transaction.execute(HOLD)
        async with owner.transaction_without_scope() as holding:
            await holding.execute("SELECT pg_advisory_xact_lock(1)")
            cancelling = asyncio.create_task(responses.cancel(ann, begun))
            # Its commit, and behind it the end of what it ends.
            await until_blocked(observer, 2)
            assert model.closed == 1
            assert (await responses.get(ann, begun))["status"] == "in_progress"
        assert (await cancelling)["status"] == "cancelled"
