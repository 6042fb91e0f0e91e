"""Where an answer comes from: a bundle with the answer's passages and the ledger's entries (docs/verify.md)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, cast

from undercroft.ledger.verification.findings import Fault, VerificationError, quote
from undercroft.ledger.verification.notes import Checkpoint, VerifierKey, check_signature
from undercroft.ledger.verification.objects import MalformedObjectError, parse_object
from undercroft.ledger.verification.proofs import check_proof, log_of, parse_proof

FORMAT: Final = "undercroft-provenance@v1"
START: Final = b"{"
"""As fields of a record begin, which have another format."""
MAX_ANSWER: Final = 1 << 23

_HASH: Final = re.compile("[0-9a-f]{64}")
_RESPONSE: Final = re.compile("resp_[0-9a-f]{32}")
_NAMED: Final = frozenset({"actor", "grant", "purpose", "resource"})
_STATED: Final = {
    "document": re.compile("file-[0-9a-f]{32}"),
    "grants": re.compile("(?:grant_[0-9a-f]{32}(?: grant_[0-9a-f]{32})*)?"),
    "score": re.compile(r"[01]\.[0-9]{4}"),
    "text_sha256": _HASH,
}
_COUNTED: Final = ("end", "number", "start", "version")


@dataclass(frozen=True, slots=True)
class ProvedAnswer:
    """What a good bundle proves.

    Attributes:
        response: The answer's id.
        model: Which model made it.
        passages: How many passages it was made from.
        opened: Those of them that are shown, by the members of their statements.
        entries: How many of the ledger's entries are proved.
        checkpoint: The newest one that covers them.
    """

    response: str
    model: str
    passages: int
    opened: Sequence[Mapping[str, str | int]]
    entries: int
    checkpoint: Checkpoint
    signed_by: VerifierKey


def find_origin(data: bytes) -> str:
    """The origin of the log that a bundle says it is proved by; nothing is checked.

    Raises:
        VerificationError: When it is malformed.
    """
    entries = _objects(_parse(data), "entries")
    proof = entries[0].get("proof") if entries else None
    if not isinstance(proof, str):
        raise _malformed("it has no entry with a proof")
    return parse_proof(proof.encode()).checkpoint.origin


def check_answer(data: bytes, keys: Sequence[VerifierKey]) -> ProvedAnswer:
    """Check that the ledger commits to just these passages for this answer.

    Args:
        data: The bundle, as it was sent.
        keys: Whose signature is believed.

    Raises:
        VerificationError: When anything about it is wrong.
    """
    bundle = _parse(data)
    response = _text(bundle, "response", _RESPONSE)
    model = bundle.get("model")
    if not isinstance(model, str):
        raise _malformed("it names no model")
    commitments: list[str] = []
    opened: list[Mapping[str, str | int]] = []
    for number, passage in enumerate(_objects(bundle, "passages"), 1):
        commitments.append(_text(passage, "commitment", _HASH))
        if passage.get("opening") is not None:
            opened.append(_open_passage(number, commitments[-1], _object(passage, "opening")))
    checkpoints: list[Checkpoint] = []
    is_committed = False
    for entry in _objects(bundle, "entries"):
        fields, checkpoint = _check_entry(entry, keys)
        checkpoints.append(checkpoint)
        if fields["action"] == "response.answer":
            _check_commitment(entry, fields, response, model, commitments)
            is_committed = True
    if not is_committed:
        raise _malformed("it has no entry of the answer")
    newest = max(checkpoints, key=lambda checkpoint: checkpoint.size)
    return ProvedAnswer(
        response,
        model,
        len(commitments),
        tuple(opened),
        len(checkpoints),
        newest,
        check_signature(newest, keys),
    )


def _check_entry(
    entry: Mapping[str, object], keys: Sequence[VerifierKey]
) -> tuple[Mapping[str, object], Checkpoint]:
    """One entry: that the log holds it, and that what is said of it is what it commits to."""
    canonical, proof = entry.get("canonical"), entry.get("proof")
    if not isinstance(canonical, str) or not isinstance(proof, str):
        raise _malformed("an entry of it has no bytes or no proof")
    proved = check_proof(proof.encode(), canonical.encode(), keys, log_of(keys[0].name))
    fields = cast("Mapping[str, object]", json.loads(canonical))
    for name, opening in _object(entry, "openings").items():
        if not isinstance(opening, dict):
            raise _malformed("an opening of it is no object")
        members = cast("Mapping[str, object]", opening)
        salt = bytes.fromhex(_text(members, "salt", _HASH))
        if name == "content":
            continue
        value = members.get("value")
        if name not in _NAMED or not isinstance(value, str):
            raise _malformed(f"it opens {quote(name)}, which is nothing that can be opened")
        if sha256(salt + value.encode()).hexdigest() != fields.get(name):
            raise _mismatch(f"{proved.entry.id} commits to another {name} than is said")
    return fields, proved.proof.checkpoint


def _check_commitment(
    entry: Mapping[str, object],
    fields: Mapping[str, object],
    response: str,
    model: str,
    commitments: Sequence[str],
) -> None:
    openings = _object(entry, "openings")
    named = _object(openings, "resource")
    if named.get("value") != response:
        raise _mismatch("its entry of the answer is of another one")
    statement = {"model": model, "passages": " ".join(commitments), "response": response}
    text = json.dumps(statement, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    salt = bytes.fromhex(_text(_object(openings, "content"), "salt", _HASH))
    if sha256(salt + sha256(text.encode()).digest()).hexdigest() != fields.get("content"):
        raise _mismatch("the ledger commits to other passages for this answer, or to another model")


def _open_passage(
    number: int, commitment: str, opening: Mapping[str, object]
) -> Mapping[str, str | int]:
    salt = bytes.fromhex(_text(opening, "salt", _HASH))
    statement = _object(opening, "statement")
    said: dict[str, str | int] = {
        name: _text(statement, name, shape) for name, shape in _STATED.items()
    }
    for name in _COUNTED:
        count = statement.get(name)
        if type(count) is not int or count < 0:
            raise _malformed(f"the {name} of a passage is no number")
        said[name] = count
    if len(said) != len(statement) or said["number"] != number:
        raise _malformed("a passage says more than it may, or stands in another's place")
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    if sha256(salt + text.encode()).hexdigest() != commitment:
        raise _mismatch(f"passage {number} is not what the answer commits to")
    return said


def _parse(data: bytes) -> Mapping[str, object]:
    try:
        bundle = parse_object(data, MAX_ANSWER)
    except MalformedObjectError as error:
        raise _malformed(str(error)) from None
    if bundle.get("format") != FORMAT:
        raise _malformed(f"its format is not {FORMAT}, which this program knows")
    return bundle


def _object(value: Mapping[str, object], name: str) -> Mapping[str, object]:
    member = value.get(name)
    if not isinstance(member, dict):
        raise _malformed(f"it has no object {quote(name)} where one has to be")
    return cast("Mapping[str, object]", member)


def _objects(value: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    member = value.get(name)
    if not isinstance(member, list) or not all(
        isinstance(each, dict) for each in cast("list[object]", member)
    ):
        raise _malformed(f"it has no list {quote(name)} of objects")
    return cast("Sequence[Mapping[str, object]]", member)


def _text(value: Mapping[str, object], name: str, shape: re.Pattern[str]) -> str:
    text = value.get(name)
    if not isinstance(text, str) or shape.fullmatch(text) is None:
        raise _malformed(f"its {quote(name)} is not one")
    return text


def _malformed(reason: str) -> VerificationError:
    return VerificationError(Fault.MALFORMED_PROVENANCE, f"the bundle is malformed: {reason}")


def _mismatch(reason: str) -> VerificationError:
    return VerificationError(Fault.OPENING_MISMATCH, reason)
