"""Kept responses as a model may be shown them now, or what was made from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from asyncpg import Record

from undercroft.chat.history import accepted
from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.sources import is_whole, may_see, releases_through
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.sharing.models import ModelUse, Release, Way
from undercroft.sharing.policy import allowed_model_use, choose_way, read_ways
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing


@dataclass(frozen=True, slots=True)
class Earlier:
    """A response of the chain, for one reader and one model."""

    row: Record = field(repr=False)
    key: DataKey = field(repr=False)
    ways: Sequence[Way]
    releases: Sequence[Release]

    @property
    def id(self) -> UUID:
        """Which."""
        return self.row["id"]

    @property
    def may_leave(self) -> bool:
        """Whether it, and all that it was made from, may be sent elsewhere."""
        rests_on = (release.way for release in self.releases)
        return any(map(_leaves, self.ways)) and all(map(_leaves, rests_on))

    @property
    def way(self) -> Way:
        """By which its reader comes to it: one that lets it be sent elsewhere, if there is such a one."""
        return choose_way(list(filter(_leaves, self.ways)) or self.ways)

    def granted(self) -> list[Release]:
        """What rests on grants of the response itself; nothing where it is one's own."""
        return [Release(None, self.way)] if self.way.grants else []

    def acts(self, scope: Scope) -> list[Act]:
        """What goes on record of its being shown: it is another's, or nothing."""
        if not self.way.grants:
            return []
        subject = Subject(render_id(RESPONSE_PREFIX, self.id), self.row["salt"])
        return acts_under(scope, self.way, Act("response.read", subject, self.row["owner_id"]))


class EarlierResponses:
    """Judges them.

    Args:
        keys: Open them.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._repository = ResponseRepository()

    async def judge(
        self, transaction: Transaction, row: Record, use: frozenset[ModelUse]
    ) -> Earlier | None:
        """A response as a model may be shown it; None where it may not."""

        def accepts(way: Way) -> bool:
            return accepted(use, way)

        ways = list(filter(accepts, read_ways(row["ways"])))
        if row["key_id"] is None or not ways:
            return None
        sources = [list(filter(accepts, read_ways(each["ways"]))) for each in row["sources"]]
        if not all(sources):
            return None
        if not all(any(map(is_whole, each)) for each in sources):
            passages = await self._repository.list_passage_texts(transaction, row["id"])
            if not all([await may_see(self._keys, passage, accepts) for passage in passages]):
                return None
        releases = releases_through(row["sources"], sources)
        return Earlier(row, await self._keys.open(row), ways, releases)


def _leaves(way: Way) -> bool:
    return ModelUse.EXTERNAL in allowed_model_use(way)
