"""An export: plain files, a manifest of them, a mirrored log, and proofs of single entries."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, cast

from undercroft.ledger.verification.canonical import NotCanonicalError, parse_canonical
from undercroft.ledger.verification.entries import MAX_ENTRY
from undercroft.ledger.verification.files import Files
from undercroft.ledger.verification.findings import (
    Fault,
    Findings,
    Problem,
    VerificationError,
    quote,
)
from undercroft.ledger.verification.notes import VerifierKey
from undercroft.ledger.verification.proofs import MAX_PROOF, Proved, check_proof

MANIFEST: Final = "manifest.json"
LOG_FOLDER: Final = "log"
VERSION: Final = 1

_MAX_MANIFEST: Final = 1 << 28
_HASH: Final = re.compile("[0-9a-f]{64}")
_ENTRY_ID: Final = re.compile("entry_[0-9a-f]{32}")
_PROOF: Final = re.compile(r"proofs/(entry_[0-9a-f]{32})\.tlog-proof")
_ENTRY: Final = re.compile(r"entries/(entry_[0-9a-f]{32})\.json")


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the manifest.

    Attributes:
        path: Of the file.
        size: In bytes.
        sha256: In hexadecimal.
        entry: Id of the entry that commits to the file's content, if one does: one with a proof, or one of the log.
        salt: What its commitment was made with.
    """

    path: str
    size: int
    sha256: str
    entry: str | None
    salt: bytes


def check_files(files: Files, findings: Findings) -> list[Listed]:
    """Compare every file with the manifest, and the manifest with the files; what it lists."""
    listed = _parse_manifest(files.read(MANIFEST, _MAX_MANIFEST))
    there = {name for name in files.names() if name != MANIFEST}
    for line in listed:
        if line.path not in there:
            findings.add(
                Fault.MISSING_FILE, f"{quote(line.path)} is listed and missing", path=line.path
            )
            continue
        there.discard(line.path)
        try:
            size, digest = files.digest(line.path)
        except VerificationError as error:
            findings.take(error.problem)
            continue
        if (size, digest) != (line.size, line.sha256):
            findings.add(
                Fault.FILE_MISMATCH,
                f"{quote(line.path)} is not the file that the manifest lists: it has {size} bytes and the "
                f"SHA-256 {digest}",
                path=line.path,
            )
    for name in sorted(there):
        findings.add(Fault.UNLISTED_FILE, f"{quote(name)} is not in the manifest", path=name)
    return listed


def check_proofs(
    files: Files, keys: Sequence[VerifierKey], log: str, findings: Findings
) -> dict[str, Proved]:
    """Check each proof with the entry of its name; the good ones by the id of their entry."""
    proofs, entries = _paired(files.names())
    for identifier in sorted(proofs ^ entries):
        lacking = f"entries/{identifier}.json" if identifier in proofs else _proof_path(identifier)
        findings.add(
            Fault.MISSING_FILE, f"{quote(lacking)} is missing beside its other half", path=lacking
        )
    proved: dict[str, Proved] = {}
    for identifier in sorted(proofs & entries):
        path = _proof_path(identifier)
        try:
            found = check_proof(
                files.read(path, MAX_PROOF),
                files.read(f"entries/{identifier}.json", MAX_ENTRY),
                keys,
                log,
            )
        except VerificationError as error:
            problem = error.problem
            findings.take(
                Problem(problem.fault, f"{path}: {problem.message}", problem.entries, path)
            )
            continue
        if found.entry.id != identifier:
            findings.add(
                Fault.NOT_INCLUDED, f"{path} proves another entry, {found.entry.id}", path=path
            )
            continue
        proved[identifier] = found
    return proved


def find_unproved(files: Files, listed: Iterable[Listed]) -> set[str]:
    """Ids of the entries that files name and that have neither half of a proof: they have to be in the log."""
    proofs, entries = _paired(files.names())
    return {line.entry for line in listed if line.entry is not None} - proofs - entries


def check_contents(
    listed: Iterable[Listed], contents: Mapping[str, str | None], findings: Findings
) -> None:
    """Check that each file whose manifest line names an entry is what that entry commits to.

    Args:
        listed: The lines.
        contents: What the proved entries, and those of the log, commit to, by their ids.
        findings: Where problems are told.
    """
    for line in listed:
        if line.entry is None:
            continue
        commitment = sha256(line.salt + bytes.fromhex(line.sha256)).hexdigest()
        if line.entry not in contents:
            findings.add(
                Fault.CONTENT_MISMATCH,
                f"{quote(line.path)} names {line.entry}, of which there is no good proof, and which is not in the log",
                path=line.path,
            )
        elif contents[line.entry] != commitment:
            findings.add(
                Fault.CONTENT_MISMATCH,
                f"{quote(line.path)} is not the content that {line.entry} commits to",
                path=line.path,
            )


def _paired(names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Ids of the entries that have a proof, and of those that have their bytes."""
    proofs: set[str] = set()
    entries: set[str] = set()
    for name in names:
        if match := _PROOF.fullmatch(name):
            proofs.add(match[1])
        elif match := _ENTRY.fullmatch(name):
            entries.add(match[1])
        elif name.startswith(("proofs/", "entries/")):
            raise VerificationError(
                Fault.MALFORMED_MANIFEST, f"{quote(name)} is not named by an entry's id", path=name
            )
    return proofs, entries


def _proof_path(identifier: str) -> str:
    return f"proofs/{identifier}.tlog-proof"


def _parse_manifest(data: bytes) -> list[Listed]:
    try:
        value = parse_canonical(data)
    except NotCanonicalError as error:
        raise _malformed(str(error)) from None
    if not isinstance(value, dict):
        raise _malformed("it is no JSON object")
    fields = cast("dict[str, object]", value)
    if fields.get("v") != VERSION or not fields.keys() <= {"created", "files", "v"}:
        raise _malformed(f"it is not of version {VERSION}, or has unknown fields")
    lines = fields.get("files")
    if not isinstance(lines, list):
        raise _malformed("it lists no files")
    listed = [_parse_line(line) for line in cast("list[object]", lines)]
    if len({line.path for line in listed}) != len(listed):
        raise _malformed("it lists a file twice")
    return listed


def _parse_line(line: object) -> Listed:
    fields = cast("dict[str, object]", line) if isinstance(line, dict) else {}
    path, size, digest = (fields.get(name) for name in ("path", "size", "sha256"))
    if (
        not isinstance(path, str)
        or not isinstance(size, int)
        or isinstance(size, bool)
        or not isinstance(digest, str)
        or _HASH.fullmatch(digest) is None
        or not fields.keys() <= {"path", "size", "sha256", "entry", "salt"}
    ):
        raise _malformed("a line of it is not path, size and sha256")
    entry, salt = fields.get("entry"), fields.get("salt")
    if entry is None and salt is None:
        return Listed(path, size, digest, None, b"")
    if (
        not (isinstance(entry, str) and _ENTRY_ID.fullmatch(entry))
        or not (isinstance(salt, str) and _HASH.fullmatch(salt))
    ):  # fmt: skip
        raise _malformed("a line of it has an entry or a salt that is none")
    return Listed(path, size, digest, entry, bytes.fromhex(salt))


def _malformed(reason: str) -> VerificationError:
    return VerificationError(
        Fault.MALFORMED_MANIFEST, f"the manifest is malformed: {reason}", path=MANIFEST
    )
