"""Formats against their specifications, bundles, single proofs, and what a hostile file may not do."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.mirror import (
    LOG,
    ORIGIN,
    bundle,
    checkpoint,
    encode,
    inclusion_path,
    leaf_hash,
    make_entry,
    make_key,
    proof,
    tree_hash,
    write_bundle,
    write_manifest,
    write_mirror,
)
from undercroft.ledger.verification.canonical import NotCanonicalError, parse_canonical
from undercroft.ledger.verification.entries import split_bundle
from undercroft.ledger.verification.findings import Fault, Span, VerificationError
from undercroft.ledger.verification.notes import (
    KeyFormatError,
    parse_checkpoint,
    parse_key,
    parse_note,
)
from undercroft.ledger.verification.proofs import parse_proof
from undercroft.ledger.verification.report import Report
from undercroft.ledger.verification.tiles import tile_path
from undercroft.ledger.verification.tree import Spine, hash_leaf, root_of_proof
from undercroft.ledger.verification.verify import VerificationUsageError, verify_path

KEY: Final = make_key()
ENTRIES: Final = [make_entry(number) for number in range(300)]
SALT: Final = bytes(range(32))
DOCUMENT: Final = b"the lease of the flat"
# Entry 4 commits to the document.
PROVED: Final = [
    *ENTRIES[:4],
    make_entry(4, content=sha256(SALT + sha256(DOCUMENT).digest()).hexdigest()),
    *ENTRIES[5:],
]
PROVED_ID: Final = f"entry_{4:032x}"
CLAIM: Final = {"entry": PROVED_ID, "salt": SALT.hex()}


def check(path: Path, **options: Any) -> Report:  # noqa: ANN401 - verify_path's own
    return verify_path(path, [parse_key(KEY.verifier)], **options)


def faults(report: Report) -> set[Fault]:
    return {problem.fault for problem in report.problems}


def only_problem(report: Report) -> str:
    (problem,) = report.problems
    return problem.message


# --- The specifications' own examples.


def test_the_root_of_each_tree_of_rfc_6962s_test_data() -> None:
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    leaves.append("606162636465666768696a6b6c6d6e6f")
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    spine = Spine()
    assert spine.root() == sha256().digest()
    for leaf, root in zip(leaves, roots, strict=True):
        spine.push(hash_leaf(bytes.fromhex(leaf)))
        assert spine.root().hex() == root


def test_the_published_example_of_a_signed_note() -> None:
    key = parse_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    note = parse_note(
        b"If you think cryptography is the answer to your problem,\n"
        b"then you don't know what your problem is.\n\n"
        b"\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZIn"
        b"NIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    (signature,) = note.signatures
    assert (signature.name, signature.key_id) == (key.name, key.id)
    key.public.verify(signature.value, note.text.encode())


def test_the_specifications_example_of_a_checkpoint() -> None:
    found = parse_checkpoint(
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9n"
        "To+zyWE+xeMcTOAYQ8=\n".encode()
    )
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.note.signatures[0].key_id.hex() == "033de0ae"


def test_the_specifications_example_of_a_proof() -> None:
    # Its signatures are abridged there.
    found = parse_proof(
        "c2sp.org/tlog-proof@v1\n"
        "extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ\n"
        "index 73894\n"
        "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n"
        "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n"
        "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n"
        "RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n"
        "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n"
        "\nexample.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n"
        "— example.com/fancylog hI2DJ1roloI=\n— witness1.example mJirIklj\n".encode()
    )
    assert (found.index, len(found.path), found.checkpoint.size) == (73894, 5, 109482)


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (0, 273, 112, "tile/0/273.p/112"),
        ("entries", 0, 1, "tile/entries/000.p/1"),
        (63, 999, 256, "tile/63/999"),
        (1, 1000, 256, "tile/1/x001/000"),
    ],
)
def test_paths_of_tiles(level: int | str, number: int, width: int, path: str) -> None:
    assert tile_path(level, number, width) == path


def test_a_log_of_70000_entries_has_the_tiles_that_the_specification_counts(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "log", [make_entry(number) for number in range(70_000)], KEY)
    assert check(mirror).good
    tiles = {
        path.relative_to(mirror / "tile").as_posix()
        for path in (mirror / "tile").rglob("*")
        if path.is_file() and "entries" not in path.parts
    }
    assert len([name for name in tiles if name.startswith("0/") and ".p" not in name]) == 273
    assert {name for name in tiles if not name.startswith("0/") or ".p" in name} == {
        "0/273.p/112",
        "1/000",
        "1/001.p/17",
        "2/000.p/1",
    }
    for name in ("1/000", "1/001.p/17", "2/000.p/1"):
        (mirror / "tile" / name).write_bytes((mirror / "tile" / name).read_bytes()[::-1])
    assert faults(check(mirror)) == {Fault.TILE_MISMATCH}


# --- Trees and proofs.


@given(st.integers(1, 70), st.data())
def test_a_proof_leads_to_the_root_from_its_own_entry_and_place_alone(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    hashes = [leaf_hash(b"%d" % number) for number in range(size)]
    path = inclusion_path(index, hashes)
    root = tree_hash(hashes)
    assert root_of_proof(hashes[index], index, size, path) == root
    other = data.draw(st.integers(0, size + 1).filter(lambda other: other != index))
    # Some places have no proof of this length at all.
    with suppress(VerificationError):
        assert root_of_proof(hashes[index], other, size, path) != root
    for wrong in ([*path, bytes(32)], path[:-1]):
        if wrong != path:
            with pytest.raises(VerificationError):
                root_of_proof(hashes[index], index, size, wrong)


@pytest.fixture
def single(tmp_path: Path) -> tuple[Path, Path]:
    """A proof and its entry."""
    where, entry = tmp_path / "a.tlog-proof", tmp_path / "a.json"
    where.write_text(proof(17, ENTRIES, KEY, b"not authenticated"), encoding="utf-8")
    entry.write_bytes(ENTRIES[17])
    return where, entry


def test_a_proof_is_good_and_says_what_it_cannot_exclude(single: tuple[Path, Path]) -> None:
    where, entry = single
    report = check(where, entry=entry)
    assert report.good
    assert report.proved == 1
    assert any("proof of one" in text for text in report.cannot_exclude)


def test_a_proof_of_another_entry_is_bad(single: tuple[Path, Path]) -> None:
    where, entry = single
    entry.write_bytes(ENTRIES[18])
    report = check(where, entry=entry)
    assert faults(report) == {Fault.NOT_INCLUDED}
    assert report.first_bad == Span(17, 17)


def test_a_proof_is_held_against_an_earlier_checkpoint_of_its_size(
    single: tuple[Path, Path], tmp_path: Path
) -> None:
    where, entry = single
    since = tmp_path / "since"
    since.write_text(checkpoint(ENTRIES, KEY), encoding="utf-8")
    assert check(where, entry=entry, since=since).good
    since.write_text(checkpoint([*ENTRIES[:-1], b"{}"], KEY), encoding="utf-8")
    assert faults(check(where, entry=entry, since=since)) == {Fault.FORKED}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("index 17", "index 017", Fault.MALFORMED_PROOF),
        ("index 17", "index -1", Fault.MALFORMED_PROOF),
        ("index 17", "index \u0661\u0667", Fault.MALFORMED_PROOF),
        ("index 17", "17", Fault.MALFORMED_PROOF),
        ("index 17", "index 16", Fault.NOT_INCLUDED),
        ("index 17", "index 17\nextra YQ==", Fault.MALFORMED_PROOF),
        ("index 17", f"index 17\n{32 * 'A'}", Fault.MALFORMED_PROOF),
        ("index 17", f"index 17\n{43 * 'A'}=", Fault.NOT_INCLUDED),
        ("index 17", f"index 17\n{42 * 'A'}B=", Fault.MALFORMED_PROOF),
        ("index 17", f"index 17\n{64 * (43 * 'A' + '=' + chr(10))}", Fault.MALFORMED_PROOF),
        (f"\n\n{ORIGIN}\n300", f"\n\n{ORIGIN}\n301", Fault.BAD_SIGNATURE),
        (f"\n\n{ORIGIN}\n300", f"\n\n{ORIGIN}\n0300", Fault.MALFORMED_CHECKPOINT),
    ],
)
def test_an_edited_proof_is_named(
    single: tuple[Path, Path], old: str, new: str, fault: Fault
) -> None:
    where, entry = single
    text = where.read_text(encoding="utf-8")
    assert old in text
    where.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert faults(check(where, entry=entry)) == {fault}


# --- Keys and notes.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+0123abcd",
        KEY.verifier[:-2],
        KEY.verifier.replace("+", " ", 1),
        KEY.verifier.replace(LOG, LOG.replace("7", "8")),
        f"{ORIGIN}+{KEY.id.hex().upper()}+{KEY.verifier.rsplit('+', 1)[1]}",
        f"x y+{KEY.id.hex()}+AAAA",
        f"{ORIGIN}+00000000+{KEY.verifier.rsplit('+', 1)[1]}",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn9",
    ],
)
def test_a_wrong_key_is_refused(text: str) -> None:
    with pytest.raises(KeyFormatError):
        parse_key(text)


def test_a_key_whose_base64_has_a_plus_is_read() -> None:
    key = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(parse_key(key)) == "sum.golang.org+033de0ae"


GOOD_NOTE: Final = checkpoint(ENTRIES[:3], KEY).encode()


NOTE_CHANGES: Final[list[Callable[[bytes], bytes]]] = [
    lambda note: note[:0],
    lambda note: note[:-1],
    lambda note: note.replace(b"\n\n", b"\n"),
    lambda note: note.replace(b"\n", b"\r\n"),
    lambda note: note.replace(b"\n3\n", b"\n3\t\n"),
    lambda note: note.replace(b"\n3\n", b"\n03\n"),
    lambda note: note.replace(b"\n3\n", b"\n+3\n"),
    lambda note: note.replace(b"\n3\n", b"\n" + 30 * b"9" + b"\n"),
    lambda note: note.replace(b"\n3\n", b"\n9223372036854775808\n"),
    lambda note: note.replace(b"\n3\n", b"\n\n"),
    lambda note: b"\xff" + note,
    lambda note: note + b"no signature\n",
    lambda note: note + note[-200:].split(b"\n")[-2] * 2 + b"\n",
    lambda note: note + 64 * (note.split(b"\n")[-2] + b"\n"),
    lambda note: note.replace(b"\xe2\x80\x94", b"-"),
    lambda note: note + b"x" * (1 << 18),
    lambda note: note.replace(b"=\n\n", b"\n\n"),
]


@pytest.mark.parametrize("change", NOTE_CHANGES)
def test_a_malformed_checkpoint_is_named(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    mirror = write_mirror(tmp_path / "log", ENTRIES[:3], KEY)
    (mirror / "checkpoint").write_bytes(change(GOOD_NOTE))
    found = faults(check(mirror))
    assert found <= {Fault.MALFORMED_CHECKPOINT, Fault.UNREADABLE_FILE}
    assert found


def test_strangers_signatures_are_ignored_and_sixteen_are_accepted(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "log", ENTRIES[:3], KEY)
    text = GOOD_NOTE.decode().split("\n\n")[0] + "\n"
    more = "".join(make_key(seed, f"witness{seed}.example").sign(text) for seed in range(2, 18))
    (mirror / "checkpoint").write_text(GOOD_NOTE.decode() + more, encoding="utf-8")
    assert check(mirror).good


# --- Entries.


@pytest.mark.parametrize(
    ("entry", "fault", "words"),
    [
        (b"", Fault.NOT_CANONICAL, "not JSON"),
        (b"\xff", Fault.NOT_CANONICAL, "not JSON"),
        (b"[" * 60_000, Fault.NOT_CANONICAL, "not JSON"),
        (make_entry(2) + b" ", Fault.NOT_CANONICAL, "spelt"),
        (make_entry(2).replace(b":", b": ", 1), Fault.NOT_CANONICAL, "spelt"),
        (make_entry(2).replace(b"allowed", b"\\u0061llowed"), Fault.NOT_CANONICAL, "spelt"),
        (make_entry(2).replace(b'"v":1', b'"v":1.0'), Fault.NOT_CANONICAL, "not whole"),
        (make_entry(2).replace(b'"v":1', b'"v":1,"v":1'), Fault.NOT_CANONICAL, "twice"),
        (make_entry(3).replace(b'"v":1,"version":4', b'"version":4,"v":1'), Fault.NOT_CANONICAL, "order"),
        (make_entry(2, trace="a b"), Fault.INVALID_ENTRY, "trace"),
        (b'"text"', Fault.INVALID_ENTRY, "object"),
        (make_entry(2, email="ada@example.org"), Fault.UNKNOWN_FIELD, '"email"'),
        (make_entry(2, actor=None), Fault.INVALID_ENTRY, "no field actor"),
        (make_entry(2, actor="user_17"), Fault.INVALID_ENTRY, "value of actor"),
        (make_entry(2, outcome="maybe"), Fault.INVALID_ENTRY, "value of outcome"),
        (make_entry(2, time="2026-11-24T14:05:02Z"), Fault.INVALID_ENTRY, "value of time"),
        (make_entry(2, version=-1), Fault.INVALID_ENTRY, "value of version"),
        (make_entry(2, version="1"), Fault.INVALID_ENTRY, "value of version"),
        (make_entry(2, v=2), Fault.INVALID_ENTRY, "newer"),
        (make_entry(2, v=True), Fault.INVALID_ENTRY, "newer"),
        (make_entry(2, log=32 * "8"), Fault.FOREIGN_ENTRY, "another log"),
    ],
)  # fmt: skip
def test_a_signed_entry_that_is_none_is_named(
    tmp_path: Path, entry: bytes, fault: Fault, words: str
) -> None:
    mirror = write_mirror(tmp_path / "log", [*ENTRIES[:2], entry, *ENTRIES[3:260]], KEY)
    report = check(mirror)
    assert faults(report) == {fault}
    assert report.first_bad == Span(2, 2)
    assert words in only_problem(report)


def test_every_field_is_known(tmp_path: Path) -> None:
    full = make_entry(
        3,
        content=64 * "a",
        grant=64 * "b",
        on_behalf_of=64 * "c",
        purpose=64 * "d",
        trace="req_" + 32 * "e",
        version=1,
    )
    assert check(write_mirror(tmp_path / "log", [full], KEY)).good


def test_only_the_first_problems_of_a_kind_are_told_and_all_are_counted(tmp_path: Path) -> None:
    report = check(write_mirror(tmp_path / "log", [b"{}"] * 500, KEY))
    assert len(report.problems) == 3
    assert report.counts == {Fault.INVALID_ENTRY: 500}
    assert "invalid_entry: 497 more" in report.to_text()


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(0, 30), st.integers(0, 25))
def test_a_bundle_is_split_as_it_was_joined(entries: list[bytes], cut: int, count: int) -> None:
    data = bundle(entries)
    kept = data[: len(data) - cut] if cut else data
    found, left = split_bundle(kept, count)
    assert found == entries[: len(found)]
    assert len(bundle(found)) + left == len(kept)
    if not cut:
        assert len(found) == min(count, len(entries))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_canonical_json_is_what_the_writers_library_writes(value: object) -> None:
    rfc8785 = pytest.importorskip("rfc8785")
    try:
        data: bytes = rfc8785.dumps(value)
    except UnicodeEncodeError:
        return
    assert parse_canonical(data) == value
    with pytest.raises(NotCanonicalError):
        parse_canonical(data + b"\n")


@pytest.mark.parametrize("text", ["9007199254740992", "-0", "1e3", "NaN", '{"b":1,"a":2}', '"\\/"'])
def test_what_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(NotCanonicalError):
        parse_canonical(f"[{text}]".encode())


# --- Bundles.


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder with a log, two proofs, and a document that an entry commits to."""
    return write_bundle(
        tmp_path / "export",
        PROVED,
        KEY,
        proved=(0, 4),
        documents={"documents/lease.txt": DOCUMENT},
        claims={"documents/lease.txt": CLAIM},
    )


def pack(folder: Path, archive_format: int = tarfile.PAX_FORMAT) -> Path:
    archive = folder.with_suffix(".tar")
    with tarfile.open(archive, "w", format=archive_format) as tar:
        tar.add(folder, arcname=".")
    return archive


@pytest.mark.parametrize("kind", ["folder", "pax", "gnu", "ustar"])
def test_a_bundle_is_good(export: Path, kind: str) -> None:
    formats = {
        "pax": tarfile.PAX_FORMAT,
        "gnu": tarfile.GNU_FORMAT,
        "ustar": tarfile.USTAR_FORMAT,
    }
    report = check(export if kind == "folder" else pack(export, formats[kind]))
    assert report.good, report.to_text()
    assert (report.kind, report.proved) == ("bundle", 2)
    assert any("manifest, which nobody signs" in text for text in report.cannot_exclude)


@pytest.mark.parametrize("archive_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_in_an_archive_are_read(tmp_path: Path, archive_format: int) -> None:
    name = "/".join(["a folder with a long name é"] * 12)
    folder = write_bundle(tmp_path / "b", ENTRIES[:5], KEY, documents={f"{name}/x": b"x"})
    assert check(pack(folder, archive_format)).good


def change_document(export: Path) -> None:
    (export / "documents" / "lease.txt").write_bytes(b"another lease of the flat")


def change_proof(export: Path) -> None:
    path = export / "proofs" / f"{PROVED_ID}.tlog-proof"
    path.write_text(proof(4, ENTRIES, KEY), encoding="utf-8")


def exchange_proofs(export: Path) -> None:
    other = f"entry_{0:032x}"
    for folder, suffix in (("proofs", "tlog-proof"), ("entries", "json")):
        one, two = (export / folder / f"{name}.{suffix}" for name in (PROVED_ID, other))
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)


def change_entry(export: Path) -> None:
    path = export / "entries" / f"{PROVED_ID}.json"
    path.write_bytes(path.read_bytes().replace(b"allowed", b"denied"))


def delete_entry(export: Path) -> None:
    (export / "entries" / f"{PROVED_ID}.json").unlink()


def add_file(export: Path) -> None:
    (export / "documents" / "forged.txt").write_bytes(b"forged")


def change_log(export: Path) -> None:
    path = export / "log" / "tile" / "entries" / "000"
    path.write_bytes(path.read_bytes().replace(b"allowed", b"denied!", 1))


def replace_log(export: Path) -> None:
    write_mirror(export / "log", [*ENTRIES[:200], make_entry(9_999), *ENTRIES[201:]], KEY)


@pytest.mark.parametrize(
    ("change", "plain", "recomputed"),
    [
        (change_document, {Fault.FILE_MISMATCH}, {Fault.CONTENT_MISMATCH}),
        (change_proof, {Fault.FILE_MISMATCH, Fault.NOT_INCLUDED, Fault.CONTENT_MISMATCH}, None),
        (exchange_proofs, {Fault.FILE_MISMATCH, Fault.NOT_INCLUDED, Fault.CONTENT_MISMATCH}, None),
        (change_entry, {Fault.FILE_MISMATCH, Fault.NOT_INCLUDED, Fault.CONTENT_MISMATCH}, None),
        (delete_entry, {Fault.MISSING_FILE, Fault.CONTENT_MISMATCH}, None),
        (add_file, {Fault.UNLISTED_FILE}, set[Fault]()),
        (change_log, {Fault.FILE_MISMATCH, Fault.ENTRY_MISMATCH, Fault.INVALID_ENTRY}, None),
        (replace_log, {Fault.FILE_MISMATCH, Fault.FORKED}, None),
    ],
)
def test_a_changed_bundle_is_named_also_when_its_manifest_is_made_again(
    export: Path,
    change: Callable[[Path], None],
    plain: set[Fault],
    recomputed: set[Fault] | None,
) -> None:
    change(export)
    assert faults(check(export)) == plain
    write_manifest(export, {"documents/lease.txt": CLAIM})
    expected = plain - {Fault.FILE_MISMATCH} if recomputed is None else recomputed
    assert faults(check(export)) == expected


def test_older_proofs_narrow_down_where_the_log_was_forked(tmp_path: Path) -> None:
    forked = [*ENTRIES[:150], make_entry(9_999), *ENTRIES[151:]]
    export = write_bundle(tmp_path / "export", forked, KEY, proved=(0, 1))
    for index, size in ((0, 100), (1, 200)):
        path = export / "proofs" / f"entry_{index:032x}.tlog-proof"
        path.write_text(proof(index, ENTRIES[:size], KEY), encoding="utf-8")
    write_manifest(export)
    report = check(export)
    assert faults(report) == {Fault.FORKED}
    assert report.first_bad == Span(100, 199)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b'{"files":{},"v":1}',
        b'{"files":[],"v":2}',
        b'{"files":[],"more":1,"v":1}',
        b'{"files":[{}],"v":1}',
        b'{"files":[1],"v":1}',
        b'{"files": [],"v":1}',
        encode({"files": [{"path": "a", "sha256": "A" * 64, "size": 1}], "v": 1}),
        encode({"files": [{"path": "a", "sha256": "a" * 64, "size": True}], "v": 1}),
        encode({"files": [{"path": "a", "sha256": "a" * 64, "size": 1}] * 2, "v": 1}),
        encode({"files": [{"path": "a", "sha256": "a" * 64, "size": 1, "salt": "a" * 64}], "v": 1}),
    ],
)
def test_a_malformed_manifest_is_named(export: Path, manifest: bytes) -> None:
    (export / "manifest.json").write_bytes(manifest)
    assert faults(check(export)) == {Fault.MALFORMED_MANIFEST}


def member(name: str, **fields: Any) -> tarfile.TarInfo:  # noqa: ANN401 - each its own
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def ustar(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    made = tarfile.TarInfo(name)
    made.size, made.type = len(data), kind
    return made.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def pax(**fields: str) -> bytes:
    lines = b""
    for key, value in fields.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        lines += str(len(rest) + 2).encode() + rest
        assert len(rest) + 2 in range(10, 100), "the length counts its own two digits"
    return lines


GOOD, EVIL = ustar("doc.txt", b"good"), ustar("doc.txt", b"evil")


@pytest.mark.parametrize(
    "blocks",
    [
        # What is skipped here as a folder's data, others unpack over the file that was looked at.
        GOOD + ustar("folder/", EVIL, tarfile.DIRTYPE),
        ustar("g", pax(path="evil.txt"), b"g") + GOOD,
        ustar("x", pax(GNU__sparse__major="1", GNU__sparse__name="evil.txt"), b"x") + GOOD,
    ],
    ids=["data of a folder", "a global header", "a sparse file"],
)
def test_an_archive_that_others_unpack_to_other_files_is_refused(
    tmp_path: Path, blocks: bytes
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(blocks + bytes(1024))
    assert faults(check(archive)) == {Fault.MALFORMED_ARCHIVE}


@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("/etc/passwd")],
        [member("a/./b")],
        [member("a//b")],
        [member("a"), member("a")],
        [member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [member("link", type=tarfile.LNKTYPE, linkname="manifest.json")],
        [member("pipe", type=tarfile.FIFOTYPE)],
        [member("device", type=tarfile.CHRTYPE)],
        [member("sparse", type=tarfile.GNUTYPE_SPARSE)],
    ],
)
def test_an_unsafe_archive_is_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for each in members:
            tar.addfile(each, io.BytesIO())
    assert faults(check(archive)) == {Fault.MALFORMED_ARCHIVE}


def test_an_archive_that_is_cut_anywhere_is_bad_and_no_traceback(export: Path) -> None:
    archive = pack(export)
    data = archive.read_bytes()
    cut = archive.with_name("cut.tar")
    end = len(data.rstrip(b"\0"))
    for length in [0, 1, 511, 512, 513, 1024, *range(0, end, 4096 + 13), end]:
        cut.write_bytes(data[:length])
        assert not check(cut).good


def test_an_archive_with_any_bit_flipped_in_a_header_is_no_traceback(export: Path) -> None:
    archive = pack(export)
    data = archive.read_bytes()
    flipped = archive.with_name("flipped.tar")
    for position in range(0, 1536, 7):
        changed = bytearray(data)
        changed[position] ^= 0x90
        flipped.write_bytes(changed)
        check(flipped).to_text()


@pytest.mark.parametrize("action", ["pipe", "link", "folder"])
def test_what_is_no_plain_file_is_neither_read_nor_waited_for(
    tmp_path: Path, export: Path, action: str
) -> None:
    mirror = write_mirror(tmp_path / "log", ENTRIES, KEY)
    for path in (mirror / "tile" / "entries" / "000", export / "documents" / "lease.txt"):
        secret = tmp_path / "secret"
        secret.write_bytes(path.read_bytes())
        path.unlink()
        if action == "pipe":
            os.mkfifo(path)
        elif action == "link":
            path.symlink_to(secret)
        else:
            path.mkdir()
    expected = {Fault.MISSING_FILE, Fault.UNREADABLE_FILE}
    assert faults(check(mirror)) <= expected
    assert not check(mirror).good
    assert faults(check(export)) <= expected | {Fault.CONTENT_MISMATCH}
    assert not check(export).good


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "log", ENTRIES, KEY)
    for name in ("checkpoint", "tile/0/000", "tile/entries/000"):
        with (mirror / name).open("r+b") as file:
            file.truncate(1 << 40)
        report = check(mirror)
        assert Fault.UNREADABLE_FILE in faults(report)
        if name == "checkpoint":
            (mirror / name).write_text(checkpoint(ENTRIES, KEY), encoding="utf-8")


def test_a_checkpoint_of_more_entries_than_there_are_files_ends_at_once(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "log", ENTRIES, KEY)
    text = f"{ORIGIN}\n{2**62}\n{43 * 'A'}=\n"
    (mirror / "checkpoint").write_text(f"{text}\n{KEY.sign(text)}", encoding="utf-8")
    report = check(mirror)
    assert Fault.MISSING_FILE in faults(report)
    assert report.first_bad is not None
    assert report.first_bad.first <= 300


def test_a_foreign_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "log", ENTRIES[:3], KEY)
    evil = make_key(3, "evil\x9b31m\u202e")
    text = GOOD_NOTE.decode().split("\n\n")[0] + "\n"
    (mirror / "checkpoint").write_text(f"{text}\n{evil.sign(text)}", encoding="utf-8")
    report = check(mirror)
    assert faults(report) == {Fault.OTHER_KEY}
    assert report.to_text().isascii()


# --- The command.


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "undercroft", "verify", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        # Nothing of the service is read: a setting that stops every other command is no obstacle.
        env={**os.environ, "UNDERCROFT_PORT": "not a port"},
    )


def test_the_command_says_good_or_bad_by_its_exit_status(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "log", ENTRIES, KEY)
    since = tmp_path / "since"
    since.write_text(checkpoint(ENTRIES[:100], KEY), encoding="utf-8")
    good = command(mirror, "--key", KEY.verifier, "--since", since)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("GOOD\n")
    assert "continues the earlier checkpoint of 100 entries" in good.stdout
    alone = command(mirror, "--key", KEY.verifier, "--json")
    assert alone.returncode == 0
    answer = json.loads(alone.stdout)
    assert answer["good"] is True
    assert "cut short, or forked" in answer["cannot_exclude"][0]
    write_mirror(mirror, [*ENTRIES[:50], make_entry(999), *ENTRIES[51:]], KEY)
    bad = command(mirror, "--key", KEY.verifier, "--since", since, "--json")
    assert bad.returncode == 1
    answer = json.loads(bad.stdout)
    assert answer["problems"][0]["code"] == "forked"
    assert answer["first_bad_entry"] == {"first": 0, "last": 99}
    wrong = command(mirror, "--key", "no key")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("undercroft: a verifier key is written")
    absent = command(tmp_path / "absent", "--key", KEY.verifier)
    assert absent.returncode == 2


def test_a_proof_and_its_entry_belong_together(tmp_path: Path, single: tuple[Path, Path]) -> None:
    where, entry = single
    mirror = write_mirror(tmp_path / "log", ENTRIES[:3], KEY)
    with pytest.raises(VerificationUsageError, match="--entry FILE"):
        check(where)
    with pytest.raises(VerificationUsageError, match="no meaning"):
        check(mirror, entry=entry)
    with pytest.raises(VerificationUsageError, match="is missing"):
        check(tmp_path / "gone")
    other = make_key(2, "another.example/ledger/1")
    with pytest.raises(VerificationUsageError, match="different logs"):
        verify_path(mirror, [parse_key(KEY.verifier), parse_key(other.verifier)])


def test_nothing_is_shared_with_the_writer() -> None:
    """The package imports the standard library, ``cryptography`` for Ed25519, and itself."""
    program = (
        "import sys, undercroft.ledger.verification.verify\n"
        "print([name for name in sys.modules if name.startswith('undercroft')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    names: list[str] = json.loads(done.stdout.replace("'", '"'))
    shared = [name for name in names if not name.startswith("undercroft.ledger.verification")]
    assert sorted(shared) == ["undercroft", "undercroft.ledger"]
