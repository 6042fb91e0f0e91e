"""An export is plain files that `undercroft verify` accepts, and proves which contents were kept."""

import asyncio
import json
import os
import sys
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from tests.operations.conftest import TEXTS, Filled, House, quiet
from tests.records import ANN, ANY, PERSON, changed, open_cabinet
from tests.vault.uploads.bench import make_bench
from undercroft.chat.conversations.models import ItemPage, NewItem, parse_item_id
from undercroft.chat.conversations.service import ConversationService
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection
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
from undercroft.vault.comments.service import CommentService
from undercroft.vault.keys.rotation import KeyRotation
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


async def test_comments_are_exported_in_the_clear(filled: Filled, tmp_path: Path) -> None:
    shelf, ann, document_id = filled.shelf, filled.ann, filled.documents["mill.txt"]
    comments = CommentService(shelf.database, shelf.keys, shelf.ledger, IdSource())
    comment = await comments.create(ann, document_id, "Is it still empty?")
    made = await export(filled.house, filled, tmp_path / "export")
    (line,) = read_lines(tmp_path / "export" / "comments.jsonl")
    assert (line["id"], line["document"], line["version"], line["author"], line["text"]) == (
        f"comment_{comment.id.hex}",
        f"file-{document_id.hex}",
        1,
        f"user_{ann.principal_id.hex}",
        "Is it still empty?",
    )
    assert verify(tmp_path / "export", made).good


async def test_conversations_are_exported_in_order(filled: Filled, tmp_path: Path) -> None:
    shelf, ann = filled.shelf, filled.ann
    conversations = ConversationService(shelf.database, shelf.keys, shelf.ledger, IdSource())
    turns = [NewItem("message", {"content": text}) for text in ("Is it empty?", "Still?")]
    begun = await conversations.create(ann, {"about": "the mill"}, turns)
    (last,) = await conversations.list_items(ann, begun.id, ItemPage(1))
    forgotten = parse_item_id(last.wire["id"])
    assert forgotten is not None
    await conversations.delete_item(ann, begun.id, forgotten)
    made = await export(filled.house, filled, tmp_path / "export")
    (line,) = read_lines(tmp_path / "export" / "conversations.jsonl")
    assert (line["id"], line["metadata"]) == (f"conv_{begun.id.hex}", {"about": "the mill"})
    assert line["if_busy"] == "enqueue"
    lines = read_lines(tmp_path / "export" / "conversation_items.jsonl")
    assert [(each["number"], each["ending"]) for each in lines] == [(0, None), (1, "deleted")]
    assert lines[0]["item"]["content"] == "Is it empty?"
    assert lines[0]["branch"] == {"number": 0, "after": None}
    assert lines[1]["item"] is None
    assert verify(tmp_path / "export", made).good


async def test_records_are_exported_whole(filled: Filled, tmp_path: Path) -> None:
    house, ann = filled.house, filled.ann
    record = await (await open_cabinet(house.database, tmp_path)).ann(ann)
    made = await export(house, filled, tmp_path / "export")
    (line,) = read_lines(tmp_path / "export" / "records.jsonl")
    assert (line["id"], line["version"]) == (f"rec_{record.id.hex}", 1)
    kept = json.loads((tmp_path / "export" / line["path"]).read_bytes())
    schema = f"schema_{record.schema_id.hex}"
    assert kept == {"data": ANN, "schema": schema, "schema_version": 1}
    (line,) = read_lines(tmp_path / "export" / "schemas.jsonl")
    assert (line["id"], line["name"]) == (schema, "person")
    definition = json.loads((tmp_path / "export" / line["path"]).read_bytes())
    assert definition["schema"] == PERSON.schema
    assert (made.versions, made.proved) == (5, 5)
    report = verify(tmp_path / "export", made)
    assert report.good, report.to_text()
    assert report.proved == 5
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


async def test_every_entry_opens_whatever_it_is_of(filled: Filled, tmp_path: Path) -> None:
    """Records, schemas, API keys, uploads and the tenant itself: as long as they are there."""
    house, ann, ids, clock = filled.house, filled.ann, IdSource(), SystemClock()
    cabinet = await open_cabinet(house.database, tmp_path)
    record = await cabinet.ann(ann)
    await cabinet.records.update(ann, record.id, ANY, changed(age=41))
    bench = await make_bench(house.database, house.folder, provider=house.provider)
    await bench.begin(ann, [b"The ice."])
    ledger = Ledger(house.database, ids, clock)
    log_keys = LogKeys(house.database, house.provider, "undercroft.local")
    rotation = KeyRotation(house.database, house.provider, log_keys, ledger, ids)
    await rotation.rotate_tenant(ann.tenant_id, lambda _, __: None)
    tenant = f"tenant {ann.tenant_id.hex}"
    await IdentityService(house.database, ledger, ids, clock).issue_key(tenant, ann.email)
    made = await export(house, filled, tmp_path / "export.tar")
    report = verify(tmp_path / "export.tar", made)
    assert report.good, report.to_text()
    with tarfile.open(tmp_path / "export.tar") as archive:
        archive.extractall(tmp_path / "export", filter="data")
    audit = read_lines(tmp_path / "export" / "audit.jsonl")
    assert {line["action"] for line in audit} >= {
        "record.create",
        "record.update",
        "schema.create",
        "upload.create",
        "key.create",
        "tenant_key.rotate",
    }
    assert [line for line in audit if "resource" not in line["openings"]] == []


def damage_first(folder: Path, pattern: str) -> str:
    """Change a byte of a file, and write the manifest anew, which nobody signs; the file's path."""
    path = min(folder.glob(pattern))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"', b"'", 1))
    list_again(folder, path)
    return path.relative_to(folder).as_posix()


def list_again(folder: Path, path: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for line in manifest["files"]:
        if line["path"] == path.relative_to(folder).as_posix():
            data = path.read_bytes()
            line |= {"size": len(data), "sha256": sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(
        json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    )


@pytest.mark.parametrize("pattern", ["records/*/1.json", "records/*/2.json", "schemas/*/1.json"])
async def test_a_record_or_schema_that_was_exchanged_is_named(
    filled: Filled, tmp_path: Path, pattern: str
) -> None:
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    record = await cabinet.ann(filled.ann)
    await cabinet.records.update(filled.ann, record.id, ANY, changed(age=41))
    made = await export(filled.house, filled, tmp_path / "export")
    path = damage_first(tmp_path / "export", pattern)
    (problem,) = verify(tmp_path / "export", made).problems
    assert (problem.fault, problem.path) == (Fault.CONTENT_MISMATCH, path)


async def test_what_was_altered_in_the_database_is_exported_and_named(
    filled: Filled, owner: AnyConnection, tmp_path: Path
) -> None:
    record = await (await open_cabinet(filled.house.database, tmp_path)).ann(filled.ann)
    cabinet = await open_cabinet(filled.house.database, tmp_path)
    await cabinet.schemas.add_version(filled.ann, record.schema_id, PERSON)
    await owner.execute("UPDATE record_versions SET schema_version = 2")
    await owner.execute(
        "UPDATE document_versions AS v SET blob_id = o.blob_id FROM document_versions AS o"
        " WHERE v.document_id = $1 AND o.document_id = $2",
        filled.documents["mill.txt"],
        filled.documents["boat.txt"],
    )
    made = await export(filled.house, filled, tmp_path / "export.tar")
    problems = verify(tmp_path / "export.tar", made).problems
    assert {(problem.fault, problem.path) for problem in problems} == {
        (Fault.CONTENT_MISMATCH, f"documents/file-{filled.documents['mill.txt'].hex}/1/mill.txt"),
        (Fault.CONTENT_MISMATCH, f"records/rec_{record.id.hex}/1.json"),
    }


def rename_resource(audit: list[Any]) -> None:
    audit[1]["resource"] = audit[1]["openings"]["resource"]["value"] = "rec_" + 32 * "0"


def rename_beside_the_opening(audit: list[Any]) -> None:
    audit[1]["resource"] = "rec_" + 32 * "0"


def exchange_salt(audit: list[Any]) -> None:
    audit[1]["openings"]["actor"]["salt"] = audit[2]["openings"]["actor"]["salt"]


def invent_opening(audit: list[Any]) -> None:
    audit[1]["purpose"] = "care"
    audit[1]["openings"]["purpose"] = {"value": "care", "salt": 64 * "0"}


def change_action(audit: list[Any]) -> None:
    audit[1]["action"] = "document.keep"


def claim_the_operator(audit: list[Any]) -> None:
    audit[1]["actor"] = "operator"
    del audit[1]["openings"]["actor"]


def exchange_lines(audit: list[Any]) -> None:
    audit[1], audit[2] = audit[2], audit[1]


def break_line(audit: list[Any]) -> None:
    audit[1] = []


def delete_line(audit: list[Any]) -> None:
    del audit[1]


def cut_off(audit: list[Any]) -> None:
    del audit[-1]


def append_line(audit: list[Any]) -> None:
    audit.append({**audit[-1], "position": len(audit)})


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (rename_resource, "does not open resource"),
        (rename_beside_the_opening, "opens another resource than it says"),
        (exchange_salt, "does not open actor"),
        (invent_opening, "does not open purpose"),
        (change_action, "another action"),
        (claim_the_operator, "another actor"),
        (exchange_lines, "another position"),
        (break_line, "malformed"),
        (delete_line, "another position"),
        (cut_off, "ends before entry"),
        (append_line, "goes on after the last entry"),
    ],
)
async def test_an_audit_that_says_something_else_than_the_log_is_named(
    filled: Filled, tmp_path: Path, tamper: Callable[[list[Any]], None], told: str
) -> None:
    folder = tmp_path / "export"
    made = await export(filled.house, filled, folder)
    audit = read_lines(folder / "audit.jsonl")
    tamper(audit)
    (folder / "audit.jsonl").write_bytes(b"".join(rfc8785.dumps(line) + b"\n" for line in audit))
    list_again(folder, folder / "audit.jsonl")
    report = verify(folder, made)
    assert {problem.fault for problem in report.problems} == {Fault.OPENING_MISMATCH}
    assert told in report.problems[0].message


async def test_a_file_that_names_an_entry_of_no_log_is_named(
    filled: Filled, tmp_path: Path
) -> None:
    await (await open_cabinet(filled.house.database, tmp_path)).ann(filled.ann)
    folder = tmp_path / "export"
    made = await export(filled.house, filled, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (line,) = (line for line in manifest["files"] if line["path"].startswith("records/"))
    line["entry"] = "entry_" + 32 * "0"
    (folder / "manifest.json").write_text(
        json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    )
    (problem,) = verify(folder, made).problems
    assert (problem.fault, problem.path) == (Fault.CONTENT_MISMATCH, line["path"])
    assert "not in the log" in problem.message


async def test_a_document_that_was_exchanged_is_found(filled: Filled, tmp_path: Path) -> None:
    """Also when the manifest, which nobody signs, was written anew: the entry still commits to the old content."""
    folder = tmp_path / "export"
    made = await export(filled.house, filled, folder)
    path = next(folder.glob("documents/*/1/mill.txt"))
    forged = b"The mill was never empty."
    path.write_bytes(forged)
    assert {problem.fault for problem in verify(folder, made).problems} == {Fault.FILE_MISMATCH}
    list_again(folder, path)
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


DAMAGE = {
    "Version 1 of record": "UPDATE record_parts SET sealed = sealed || '\\x00' WHERE number = 0",
    "Version 1 of schema": "UPDATE schema_versions SET sealed_definition = ''",
    "Version 1 of document": "UPDATE documents SET sealed_name = ''",
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_what_does_not_open_is_named_and_nothing_is_left(
    filled: Filled, owner: AnyConnection, tmp_path: Path, what: str
) -> None:
    await (await open_cabinet(filled.house.database, tmp_path)).ann(filled.ann)
    await owner.execute(DAMAGE[what])
    with pytest.raises(OperationError, match=rf"^{what} [0-9a-f]{{32}} does not open"):
        await export(filled.house, filled, tmp_path / "export.tar")
    assert not list(tmp_path.glob("*export*"))


async def test_nothing_is_overwritten(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "export.tar").write_text("mine")
    with pytest.raises(OperationError, match="exists already"):
        await export(filled.house, filled, tmp_path / "export.tar")
    assert (tmp_path / "export.tar").read_text() == "mine"
