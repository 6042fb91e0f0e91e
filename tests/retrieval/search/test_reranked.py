"""A reranker changes the order alone: what it may not be sent, what it fails at, and what is lost meanwhile."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import aiohttp
import pytest
from pydantic import SecretStr

from tests.clocks import SetClock
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_ledgered import acts
from tests.retrieval.search.test_shared import grants_of, share
from tests.servers.reranking_server import KEY
from tests.shelf import Shelf
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.retrieval.reranking.local import OnnxReranker
from undercroft.retrieval.reranking.protocol import Reranker
from undercroft.retrieval.reranking.remote import RemoteReranker
from undercroft.retrieval.search.models import RERANKER, SearchQuery, SearchResult
from undercroft.retrieval.search.service import SearchService
from undercroft.sharing.models import GrantAction, ModelUse, ResourceKind, Terms

TEXTS = {
    "boat.txt": "The boat repaired the boat.",
    "rent.txt": "Rent is due, and who repaired the boat is due a boat.",
    "clock.txt": "Who repaired the clock is a boat.",
}
ASKED = "repaired boat"
EXTERNAL = frozenset(ModelUse)
WITHIN = frozenset({ModelUse.QUOTE, ModelUse.SUMMARISE})


def searching(shelf: Shelf, reranker: Reranker) -> SearchService:
    return SearchService(shelf.stepped, shelf.keys, shelf.ledger, shelf.embedder, reranker)


async def search(
    service: SearchService, scope: Member, *collections: UUID, text: str = ASKED
) -> SearchResult:
    return await service.search(scope, SearchQuery(collections, text, 10))


def names(result: SearchResult) -> list[str]:
    return [passage.filename for passage in result.passages]


@dataclass(frozen=True, slots=True)
class Backwards:
    """Prefers what comes last, and does something first: what another does while a reranker is waited for."""

    before: Callable[[], Awaitable[object]]
    location: Literal["local", "external"] = "local"
    name: str = "backwards"

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        del query
        await self.before()
        return [float(place) for place in range(len(texts))]

    async def close(self) -> None:
        return None


async def nothing() -> None:
    return None


class Remote:
    """The server, and what it was sent."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    def reranker(
        self, fault: str = "none", location: Literal["local", "external"] = "external"
    ) -> RemoteReranker:
        return RemoteReranker(
            self._session,
            f"{self._url}/none",
            SecretStr(KEY),
            f"fault:{fault}",
            api="cohere",
            location=location,
            seconds=0.2 if fault == "hang" else 20.0,
            clock=SetClock(),
        )

    async def last(self) -> dict[str, Any]:
        async with self._session.get(f"{self._url}/requests") as response:
            found: list[dict[str, Any]] = await response.json()
            return found[-1]


@pytest.fixture
def remote(http_session: aiohttp.ClientSession, reranking_url: str) -> Remote:
    return Remote(http_session, reranking_url)


async def test_passages_are_put_in_the_rerankers_order_and_scores_stay_with_places(
    shelf: Shelf, make_scope: MakeScope, onnx_reranker: OnnxReranker
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    asked = "who repaired the clock"
    fused = await search(shelf.search, ann, collection, text=asked)
    ranked = await search(searching(shelf, onnx_reranker), ann, collection, text=asked)
    assert names(ranked)[0] == "clock.txt"
    assert ranked.degraded == frozenset()
    backwards = await search(searching(shelf, Backwards(nothing)), ann, collection, text=asked)
    assert names(backwards) == names(fused)[::-1]
    assert [it.score for it in backwards.passages] == [it.score for it in fused.passages]


@pytest.mark.parametrize("fault", ["status-500", "status-400", "hang", "missing"])
async def test_when_the_reranker_fails_or_is_late_the_fused_order_stays_and_it_is_said(
    shelf: Shelf, make_scope: MakeScope, remote: Remote, fault: str
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    fused = await search(shelf.search, ann, collection)
    result = await search(searching(shelf, remote.reranker(fault)), ann, collection)
    assert names(result) == names(fused)
    assert result.degraded == {RERANKER}


async def test_what_may_not_leave_is_not_sent_and_keeps_its_place(
    shelf: Shelf, make_scope: MakeScope, remote: Remote
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, TEXTS)
    action = frozenset({GrantAction.SEARCH})
    for name, document in documents.items():
        use = WITHIN if name == "rent.txt" else EXTERNAL
        await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, Terms(action, model_use=use))
    del collection
    query = SearchQuery((), ASKED, 10, is_everywhere=True)
    fused = names(await shelf.search.search(bob, query))
    ranked = names(await searching(shelf, remote.reranker()).search(bob, query))
    sent = (await remote.last())["documents"]
    assert sorted(sent) == sorted([TEXTS["boat.txt"], TEXTS["clock.txt"]])
    assert ranked.index("rent.txt") == fused.index("rent.txt")
    assert sorted(ranked) == sorted(fused)
    # The operator's own server is sent all of it, as the embedder is.
    await searching(shelf, remote.reranker(location="local")).search(bob, query)
    assert len((await remote.last())["documents"]) == 3


async def test_a_use_that_is_counted_is_not_spent_on_being_sent(
    shelf: Shelf, make_scope: MakeScope, remote: Remote
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, TEXTS)
    for name, document in documents.items():
        terms = Terms(frozenset({GrantAction.SEARCH}), max_uses=3 if name == "boat.txt" else None)
        await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    query = SearchQuery((), ASKED, 10, is_everywhere=True)
    await searching(shelf, remote.reranker()).search(bob, query)
    assert TEXTS["boat.txt"] not in (await remote.last())["documents"]


async def test_what_is_sent_elsewhere_is_on_record_before_and_what_stays_is_not(
    shelf: Shelf, make_scope: MakeScope, remote: Remote
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"clock.txt": TEXTS["clock.txt"]})
    ranked = ("document.rank", render_id("file-", documents["clock.txt"]), "allowed")
    await search(searching(shelf, remote.reranker(location="local")), ann, collection)
    assert ranked not in await acts(shelf.database, ann)
    seen: list[bool] = []

    async def look() -> None:
        seen.append(ranked in await acts(shelf.database, ann))

    await search(searching(shelf, Backwards(look, location="external")), ann, collection)
    assert seen == [True]
    # Also where it fails: it may have been read there.
    await search(searching(shelf, remote.reranker("status-500")), ann, collection)
    assert (await acts(shelf.database, ann)).count(ranked) == 2


async def test_what_is_lost_while_a_reranker_is_waited_for_is_not_released(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, TEXTS)

    async def delete() -> None:
        await shelf.documents.delete(ann, documents["rent.txt"])

    result = await search(searching(shelf, Backwards(delete)), ann, collection)
    assert sorted(names(result)) == ["boat.txt", "clock.txt"]
    given = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob)

    async def revoke() -> None:
        await grants_of(shelf).revoke(ann, given.id)

    with pytest.raises(NotFoundError):
        await search(searching(shelf, Backwards(revoke)), bob, collection)
