"""An export is plain files that `undercroft verify` accepts, and proves which contents were kept."""

import asyncio
import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.operations.conftest import TEXTS, Filled, House, quiet
from tests.records import ANN, PERSON, open_cabinet
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.ledger.verification.findings import Fault
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.report import Report
from undercroft.ledger.verification.verify import verify_path
from undercroft.operations.archives import open_archive
from undercroft.operations.errors import OperationError
from undercroft.operations.exports.bundle import safe_name
from undercroft.operations.exports.export import Export, ExportSummary
from undercroft.vault.keys.service import KeyRing


async def export(house: House, filled: Filled, target: Path) -> ExportSummary:
    clock, ids = SystemClock(), IdSource()
    keys = LogKeys(house.database, house.provider, "undercroft.local")
    sequencer = Sequencer(house.database, keys)
    return await Export(
        house.database,
        house.store,
        KeyRing(house.provider, ids),
        Ledger(house.database, ids, clock),
        sequencer,
        LedgerReader(house.database, keys, sequencer, clock),
        clock,
        quiet,
    ).write(filled.ann.tenant_id, "acme", target)


def verify(path: Path, made: ExportSummary) -> Report:
    return verify_path(path, [parse_key(key) for key in made.verifier_keys])


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["export.tar", "export"])
async def test_an_export_verifies(filled: Filled, tmp_path: Path, name: str) -> None:
    made = await export(filled.house, filled, tmp_path / name)
    assert (made.versions, made.proved) == (3, 3)
    report = verify(tmp_path / name, made)
    assert report.good, report.to_text()
    assert report.proved == 3
    command = [sys.executable, "-m", "undercroft", "verify", str(tmp_path / name)]
    keys = [option for key in made.verifier_keys for option in ("--key", key)]
    offline = await asyncio.create_subprocess_exec(
        *command, *keys, env={"PATH": os.defpath}, stdout=asyncio.subprocess.DEVNULL
    )
    assert await offline.wait() == 0


async def test_everything_is_there_in_the_clear(filled: Filled, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    await export(filled.house, filled, folder)
    documents = {line["name"]: line for line in read_lines(folder / "documents.jsonl")}
    for name, text in TEXTS.items():
        line = documents[name]
        assert line["id"] == f"file-{filled.documents[name].hex}"
        assert (folder / line["path"]).read_text() == text
        assert line["sha256"] == sha256(text.encode()).hexdigest()
    (collection,) = read_lines(folder / "collections.jsonl")
    assert collection["name"] == "papers"
    assert len(read_lines(folder / "collection_members.jsonl")) == 3
    (answer,) = read_lines(folder / "responses.jsonl")
    assert answer["response"] == {"output": []}
    (user,) = read_lines(folder / "users.jsonl")
    assert (user["email"], set(user)) == (filled.ann.email, {"id", "email", "role", "created_at"})


async def test_records_are_exported_whole(filled: Filled, tmp_path: Path) -> None:
    house, ann = filled.house, filled.ann
    record = await (await open_cabinet(house.database, tmp_path)).ann(ann)
    made = await export(house, filled, tmp_path / "export")
    (line,) = read_lines(tmp_path / "export" / "records.jsonl")
    assert (line["id"], line["version"], line["data"]) == (f"rec_{record.id.hex}", 1, ANN)
    (definition,) = read_lines(tmp_path / "export" / "schemas.jsonl")
    assert definition["definition"]["schema"] == PERSON.schema
    assert verify(tmp_path / "export", made).good
    found, _ = await house.fsck()
    assert found == []


async def test_the_export_is_on_record_and_the_audit_opens(filled: Filled, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    made = await export(filled.house, filled, folder)
    audit = read_lines(folder / "audit.jsonl")
    assert len(audit) == made.entries
    exported = audit[-1]
    assert (exported["action"], exported["actor"]) == ("tenant.export", "operator")
    assert (exported["owner"], set(exported["openings"])) == (None, {"resource"})
    assert all(set(line["openings"]) >= {"actor", "resource"} for line in audit[:-1])
    entries = b"".join(
        path.read_bytes() for path in (folder / "log/tile/entries").rglob("*") if path.is_file()
    )
    for line in audit:
        for field in {"actor", "resource"} & line["openings"].keys():
            opening = line["openings"][field]
            assert opening["value"] == line[field]
            commitment = sha256(bytes.fromhex(opening["salt"]) + opening["value"].encode())
            assert f'"{field}":"{commitment.hexdigest()}"'.encode() in entries


async def test_a_document_that_was_exchanged_is_found(filled: Filled, tmp_path: Path) -> None:
    """Also when the manifest, which nobody signs, was written anew: the entry still commits to the old content."""
    folder = tmp_path / "export"
    made = await export(filled.house, filled, folder)
    path = next(folder.glob("documents/*/1/mill.txt"))
    forged = b"The mill was never empty."
    path.write_bytes(forged)
    assert {problem.fault for problem in verify(folder, made).problems} == {Fault.FILE_MISMATCH}
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for line in manifest["files"]:
        if line["path"] == path.relative_to(folder).as_posix():
            line |= {"size": len(forged), "sha256": sha256(forged).hexdigest()}
    (folder / "manifest.json").write_text(
        json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    )
    assert {problem.fault for problem in verify(folder, made).problems} == {Fault.CONTENT_MISMATCH}


async def test_a_long_log_is_mirrored_whole(filled: Filled, tmp_path: Path) -> None:
    for _ in range(600):
        await filled.shelf.documents.read(filled.ann, filled.documents["mill.txt"])
    made = await export(filled.house, filled, tmp_path / "export.tar")
    assert made.entries > 600
    report = verify(tmp_path / "export.tar", made)
    assert report.good, report.to_text()


async def test_hostile_names_stay_in_their_folder(filled: Filled, tmp_path: Path) -> None:
    for number, name in enumerate(
        ("../../etc/passwd", "..", ".", "a\\b:c?.txt", "é" * 200 + ".txt")
    ):
        await filled.shelf.put(filled.ann, name, f"Hostile {number}.")
    made = await export(filled.house, filled, tmp_path / "export.tar")
    assert made.versions == 8
    report = verify(tmp_path / "export.tar", made)
    assert report.good, report.to_text()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("lease.pdf", "lease.pdf"),
        ("../../etc/passwd", "_._etc_passwd"),
        ("..", "document"),
        (".bashrc", "bashrc"),
        ("a\x00b\n.txt", "a_b_.txt"),
        ("con: x?.md", "con_ x_.md"),
        ("x" * 300 + ".txt", "x" * 146 + ".txt"),
        ("abc\u202egpj.exe", "abc_gpj.exe"),
        ("   ", "document"),
    ],
)
def test_names_are_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_place_without_a_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OperationError, match=r"There is no folder .*/absent\. Make it"),
        open_archive(tmp_path / "absent" / "export.tar"),
    ):
        pass


async def test_nothing_is_overwritten(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "export.tar").write_text("mine")
    with pytest.raises(OperationError, match="exists already"):
        await export(filled.house, filled, tmp_path / "export.tar")
    assert (tmp_path / "export.tar").read_text() == "mine"
