"""Where an answer comes from: recorded when its passages are released, told as a bundle that proves itself offline."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.errors import NoProvenanceError, SourceErasedError
from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.reading import no_response, open_resource
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.statements import (
    commit_passage,
    digest_answer,
    open_statement,
    passage_salt,
    read_statement,
    seal_statement,
    state_passage,
)
from undercroft.chat.sources import is_whole
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.leaves import derive_salt, grant_reference
from undercroft.ledger.models import ENTRY_PREFIX, Act, Subject
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.service import Ledger
from undercroft.retrieval.search.models import FoundPassage
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX

FORMAT: Final = "undercroft-provenance@v1"


class AnswerRecorder:
    """Puts on record what an answer is made from."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._repository = ResponseRepository()

    async def record(
        self,
        transaction: Transaction,
        scope: Scope,
        key: DataKey,
        response_id: UUID,
        model: str,
        passages: Sequence[FoundPassage],
    ) -> None:
        """Keep the passages, and have the ledger commit to them.

        Args:
            transaction: Before whose commit nothing of the passages may be told.
            scope: Who asked.
            key: The response's.
            response_id: The response.
            model: Which model answers.
            passages: What it is given, best first.
        """
        statements = [state_passage(number, passage) for number, passage in enumerate(passages, 1)]
        numbered = list(enumerate(statements, 1))
        commitments = [
            commit_passage(key.salt, response_id, number, statement)
            for number, statement in numbered
        ]
        sealed = [
            seal_statement(key, scope.tenant_id, response_id, number, statement)
            for number, statement in numbered
        ]
        await self._repository.insert_passages(transaction, response_id, passages, sealed)
        act = state_answer(scope, key, response_id, model, commitments)
        [entry_id] = await self._ledger.append(transaction, scope, act)
        await self._repository.set_answer_entry(transaction, response_id, entry_id)


def state_answer(
    scope: Scope, key: DataKey, response_id: UUID, model: str, commitments: Sequence[str] = ()
) -> Act:
    """What the ledger says of an answer: which model gives it, from which passages; none without a search."""
    return Act(
        "response.answer",
        Subject(render_id(RESPONSE_PREFIX, response_id), key.salt),
        scope.principal_id,
        content=digest_answer(response_id, model, commitments),
    )


class ProvenanceService:
    """Makes bundles.

    Args:
        database: Where responses are.
        keys: Open what is kept of them.
        ledger: Where it is put on record that a bundle was made.
        log: Proves entries.
    """

    def __init__(
        self, database: Database, keys: KeyRing, ledger: Ledger, log: LedgerReader
    ) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._log = log
        self._repository = ResponseRepository()

    async def get(self, scope: Scope, response_id: UUID) -> WireObject:
        """The bundle of a response, as far as its reader may see its passages now.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
            NoProvenanceError: When nothing was recorded of where it comes from.
            NotYetSequencedError: When the ledger does not number its entries within two seconds.
        """
        find = find_target(RESPONSE_PREFIX, response_id, self._repository.find_response_owner)
        refusing = recording_refusal(self._database, self._ledger, scope, "response.read", find)
        async with refusing as transaction:
            row = await self._repository.find_response(transaction, response_id)
            if row is None:
                raise no_response(response_id)
            if row["key_id"] is None:
                raise SourceErasedError
            if row["answer_entry_id"] is None:
                raise NoProvenanceError
            passages = await self._repository.list_provenance(transaction, response_id)
            subject = Subject(render_id(RESPONSE_PREFIX, response_id), row["salt"])
            way = choose_way(read_ways(row["ways"]))
            act = Act("response.read", subject, row["owner_id"])
            await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
        return await self._bundle(scope, row, passages)

    async def _bundle(self, scope: Scope, row: Record, passages: Sequence[Record]) -> WireObject:
        key = await self._keys.open(row)
        response_id, tenant_id = row["id"], row["tenant_id"]
        resource = open_resource(key, tenant_id, response_id, row["sealed_resource"])
        is_asker = row["owner_id"] == scope.principal_id
        shown: list[WireObject] = []
        entries = [await self._answer_entry(scope, row)]
        told: set[UUID] = set()
        for passage in passages:
            number = passage["number"]
            statement = open_statement(
                key, tenant_id, response_id, number, passage["sealed_statement"]
            )
            is_open = _may_open(passage, is_asker=is_asker)
            shown.append(
                {
                    "number": number,
                    "commitment": commit_passage(key.salt, response_id, number, statement),
                    "opening": {
                        "salt": passage_salt(key.salt, response_id, number).hex(),
                        "statement": read_statement(statement),
                    }
                    if is_open
                    else None,
                }
            )
            if is_open and is_asker:
                for entry_id in passage["entry_ids"]:
                    if entry_id not in told:
                        told.add(entry_id)
                        entries.append(await self._document_entry(scope, passage, entry_id))
        return {
            "format": FORMAT,
            "response": resource["id"],
            "model": resource["model"],
            "passages": shown,
            "entries": entries,
        }

    async def _answer_entry(self, scope: Scope, row: Record) -> WireObject:
        """Whoever may read the response may see what the ledger has of its making, though it is another's act."""
        reference = render_id(RESPONSE_PREFIX, row["id"])
        return await self._entry(
            scope,
            row["answer_entry_id"],
            row["salt"],
            {"resource": reference, "content": None},
            row["owner_id"],
        )

    async def _document_entry(self, scope: Scope, passage: Record, entry_id: UUID) -> WireObject:
        reference = render_id(DOCUMENT_PREFIX, passage["document_id"])
        salt = passage["document_salt"]
        return await self._entry(scope, entry_id, salt, {"resource": reference}, scope.principal_id)

    async def _entry(
        self,
        scope: Scope,
        entry_id: UUID,
        salt: bytes,
        values: Mapping[str, str | None],
        viewer_id: UUID,
    ) -> WireObject:
        """An entry with its proof, and what opens its commitments."""
        entry, leaf = await self._log.wait_for_entry(scope, entry_id, viewer_id)
        proof = await self._log.prove_entry(scope, entry_id, viewer_id)
        opened: dict[str, str | None] = {**values}
        if entry.grant_id is not None:
            opened["grant"] = grant_reference(entry.grant_id)
        if entry.purpose is not None:
            opened["purpose"] = entry.purpose
        return {
            "id": render_id(ENTRY_PREFIX, entry_id),
            "action": entry.action,
            "canonical": leaf.decode(),
            "openings": {
                field: {"value": value, "salt": derive_salt(salt, entry_id, field).hex()}
                for field, value in opened.items()
            },
            "proof": proof,
        }


def _may_open(passage: Record, *, is_asker: bool) -> bool:
    """Whether its reader may know which passage it is. Who asked did, and has to have a way to it still."""
    ways = read_ways(passage["ways"])
    return any(is_asker or is_whole(way) for way in ways)
