"""Derives a tenant's ledger again: from its entries up to the signed checkpoint, by the code of `undercroft verify`."""

import json
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

from asyncpg import Record
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from undercroft.kit.crypto.aead import DecryptionError, bind
from undercroft.kit.crypto.providers.protocol import KeyMissingError, KeyProvider
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import commit, derive_salt, render_time, user_reference
from undercroft.ledger.models import ENTRY_PREFIX, OPERATOR, OPERATOR_ID
from undercroft.ledger.notes import verifier_key
from undercroft.ledger.verification.entries import read_entry
from undercroft.ledger.verification.findings import Problem, VerificationError
from undercroft.ledger.verification.notes import check_signature, parse_checkpoint, parse_key
from undercroft.ledger.verification.tree import TILE_WIDTH, Spine, hash_leaf
from undercroft.operations.examination.findings import Fault, Findings
from undercroft.operations.examination.repository import ExaminationRepository

_PAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class ExaminedLog:
    """A log that was derived again.

    Attributes:
        size: As its head says.
        tiles_only: Whether nothing is wrong but hashes that can be derived from the entries.
    """

    id: UUID
    size: int
    checkpoint: str | None
    tiles_only: bool


class LedgerExamination:
    """Examines one tenant's log.

    Args:
        provider: Wraps the keys that sign it.
        tenant_id: Whose it is.
        findings: Where problems go.
    """

    def __init__(self, provider: KeyProvider, tenant_id: UUID, findings: Findings) -> None:
        self._provider = provider
        self._tenant_id = tenant_id
        self._findings = findings
        self._repository = ExaminationRepository()
        self._is_sound = True
        self._tiles_are_right = True
        self._tile_count = 0

    async def run(self, transaction: Transaction) -> ExaminedLog:
        """Walk the log from its first entry to its last."""
        log = await self._repository.get_log(transaction)
        log_id, size = cast("UUID", log["id"]), cast("int", log["size"])
        spine = Spine()
        while page := await self._repository.list_entries(transaction, spine.size, _PAGE):
            if not await self._take(transaction, log_id, page, spine):
                break
        if self._is_sound:
            self._check_head(log, spine)
            await self._check_tile_count(transaction)
        await self._check_keys(transaction, log)
        only = self._is_sound and not self._tiles_are_right
        return ExaminedLog(log_id, size, log["checkpoint"], only)

    async def _take(
        self, transaction: Transaction, log_id: UUID, page: list[Record], spine: Spine
    ) -> bool:
        derived: dict[tuple[int, int], bytes] = {}
        for row in page:
            if row["position"] != spine.size:
                self._tell(
                    Fault.LEDGER_GAP,
                    f"entry {spine.size}",
                    f"is missing: the next one is {row['position']}",
                )
                return False
            self._check_entry(log_id, row)
            for level, index, digest in spine.push(hash_leaf(row["leaf"])):
                derived[level, index] = digest
        stored = await self._repository.list_tile_hashes(transaction, list(derived))
        self._tile_count += len(derived)
        for place, digest in derived.items():
            if stored.get(place) != digest:
                self._tell_tile(place, "is missing" if place not in stored else "is wrong")
        return True

    def _check_entry(self, log_id: UUID, row: Record) -> None:
        subject = f"entry {row['position']} ({render_id(ENTRY_PREFIX, row['id'])})"
        read = read_entry(row["leaf"], log_id.hex)
        if isinstance(read, Problem):
            self._tell(Fault.LEDGER_ENTRY_ALTERED, subject, read.message)
            return
        fields: dict[str, object] = json.loads(row["leaf"])
        beside = {
            "id": render_id(ENTRY_PREFIX, row["id"]),
            "action": row["action"],
            "outcome": row["outcome"],
            "version": row["version"],
            "trace": row["trace"],
            "time": render_time(row["occurred_at"]),
        }
        if row["actor_id"] == OPERATOR_ID:
            beside["actor"] = OPERATOR
        if row["actor_salt"] is not None:
            salt = derive_salt(row["actor_salt"], row["id"], "actor")
            beside["actor"] = commit(salt, user_reference(row["actor_id"]).encode())
        for name, value in beside.items():
            if fields.get(name) != value:
                self._tell(
                    Fault.LEDGER_ENTRY_ALTERED, subject, f"has another {name} beside it than in it"
                )

    def _check_head(self, log: Record, spine: Spine) -> None:
        if spine.size != log["size"]:
            missing = spine.size < log["size"]
            self._tell(
                Fault.LEDGER_GAP if missing else Fault.LEDGER_HEAD_WRONG,
                "log",
                f"has {spine.size} entries, and its head says {log['size']}",
            )
            return
        if b"".join(spine.subtrees()) != log["frontier"]:
            self._tell(Fault.LEDGER_HEAD_WRONG, "log", "has another frontier than its entries make")
        if log["checkpoint"] is None:
            return
        try:
            checkpoint = parse_checkpoint(log["checkpoint"].encode())
        except VerificationError as error:
            self._tell(Fault.LEDGER_HEAD_WRONG, "log", f"has a bad checkpoint: {error}")
            return
        if (checkpoint.size, checkpoint.root) != (spine.size, spine.root()):
            self._tell(
                Fault.LEDGER_HEAD_WRONG,
                "log",
                "has entries that do not lead to the root of its checkpoint: some were altered",
            )

    async def _check_keys(self, transaction: Transaction, log: Record) -> None:
        keys = await self._repository.list_log_keys(transaction)
        for key in keys:
            if key["retired_at"] is None:
                await self._check_private_key(log["id"], key)
        if log["checkpoint"] is None:
            return
        verifiers = [parse_key(verifier_key(key["name"], key["public_key"])) for key in keys]
        try:
            check_signature(parse_checkpoint(log["checkpoint"].encode()), verifiers)
        except (VerificationError, IndexError) as error:
            self._tell(
                Fault.LEDGER_HEAD_WRONG, "log", f"has a checkpoint that is not its own: {error}"
            )

    async def _check_private_key(self, log_id: UUID, key: Record) -> None:
        subject = f"signing key {key['number']}"
        place = bind(self._tenant_id, "ledger_keys", log_id, "wrapped_private_key", key["number"])
        try:
            private = await self._provider.unwrap(key["wrapped_private_key"], place)
        except (DecryptionError, KeyMissingError) as error:
            self._tell(Fault.KEY_UNUSABLE, subject, error.message)
            return
        public = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        if public != key["public_key"]:
            self._tell(Fault.KEY_UNUSABLE, subject, "is not the other half of its public key")

    async def _check_tile_count(self, transaction: Transaction) -> None:
        count = await self._repository.count_tile_hashes(transaction)
        if self._tiles_are_right and count != self._tile_count:
            self._tiles_are_right = False
            self._findings.add(
                Fault.LEDGER_TILE_WRONG,
                self._tenant_id,
                "log",
                f"has {count} hashes above its entries instead of {self._tile_count}",
            )

    def _tell_tile(self, place: tuple[int, int], what: str) -> None:
        self._tiles_are_right = False
        level, index = place
        number, offset = divmod(index, TILE_WIDTH)
        self._findings.add(
            Fault.LEDGER_TILE_WRONG,
            self._tenant_id,
            f"hash {offset} of tile ({level}, {number})",
            what,
        )

    def _tell(self, fault: Fault, subject: str, message: str) -> None:
        self._is_sound = False
        self._findings.add(fault, self._tenant_id, subject, message)
