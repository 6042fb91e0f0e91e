"""Every way to change a log, by somebody who only edits files, by somebody who recomputes, and by who holds the key."""

import base64
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.ledger.mirror import (
    ORIGIN,
    LogKey,
    bundle,
    checkpoint,
    leaf_hash,
    make_entry,
    make_key,
    write_mirror,
    write_tiles,
)
from undercroft.ledger.verification.findings import Fault, Span
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.report import Report
from undercroft.ledger.verification.verify import verify_path

KEY: Final = make_key()
STRANGER: Final = make_key(2)
SIZE: Final = 600
EARLIER: Final = 300
ENTRIES: Final = [make_entry(number) for number in range(SIZE)]
OTHER_LOG: Final = 32 * "8"

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The log as a tenant mirrored it when it had fewer entries."""
    return write_mirror(tmp_path / "earlier", ENTRIES[:EARLIER], KEY)


def check(mirror: Path, since: Path | None = None) -> Report:
    return verify_path(mirror, [parse_key(KEY.verifier)], since=since)


def faults(report: Report) -> set[Fault]:
    return {problem.fault for problem in report.problems}


def flip(entries: list[bytes], at: int) -> list[bytes]:
    changed = entries[at].replace(b'"allowed"', b'"denied"').replace(b"14:05", b"14:06")
    return [*entries[:at], changed, *entries[at + 1 :]]


def delete(entries: list[bytes], at: int) -> list[bytes]:
    return entries[:at] + entries[at + 1 :]


def insert(entries: list[bytes], at: int) -> list[bytes]:
    return [*entries[:at], make_entry(999_999), *entries[at:]]


def reorder(entries: list[bytes], at: int) -> list[bytes]:
    return [*entries[:at], entries[at + 1], entries[at], *entries[at + 2 :]]


def swap_tenants(entries: list[bytes], at: int) -> list[bytes]:
    return [*entries[:at], make_entry(at, log=OTHER_LOG), *entries[at + 1 :]]


CHANGES: Final = {
    "flip": flip,
    "delete": delete,
    "insert": insert,
    "reorder": reorder,
    "swap two tenants": swap_tenants,
}
# In the first tile, on both sides of a tile's edge, and in the last, partial tile.
PLACES: Final = (0, 17, 255, 256, 299, 300, 511, 512, 590)


def rewrite_bundles(mirror: Path, entries: Sequence[bytes]) -> None:
    """Only the bundles of entries, in as many files as before; what is too much goes into the last."""
    for number in range(3):
        last = number == 2
        name = f"{number:03}" + (".p/88" if last else "")
        part = entries[256 * number :] if last else entries[256 * number : 256 * (number + 1)]
        (mirror / "tile" / "entries" / name).write_bytes(bundle(part))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return write_mirror(tmp_path / "mirror", ENTRIES, KEY)


def test_the_untouched_log_is_good(mirror: Path, earlier: Path) -> None:
    assert check(mirror).good
    assert check(mirror, earlier / "checkpoint").good
    assert check(mirror, earlier).good


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("name", CHANGES)
def test_an_edited_entry_is_named(mirror: Path, earlier: Path, name: str, at: int) -> None:
    rewrite_bundles(mirror, CHANGES[name](list(ENTRIES), at))
    for since in (None, earlier / "checkpoint"):
        report = check(mirror, since)
        assert Fault.ENTRY_MISMATCH in faults(report)
        assert report.first_bad == Span(at, at)
        assert (Fault.FOREIGN_ENTRY in faults(report)) == (name == "swap two tenants")
        assert Fault.FORKED not in faults(report)


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("name", CHANGES)
def test_an_edit_with_its_leaf_hash_is_found_within_its_tile(
    mirror: Path, earlier: Path, name: str, at: int
) -> None:
    changed = CHANGES[name](list(ENTRIES), at)[:SIZE]
    changed += [make_entry(1_000_000)] * (SIZE - len(changed))
    rewrite_bundles(mirror, changed)
    for number, width in enumerate((256, 256, 88)):
        part = changed[256 * number :][:width]
        suffix = "" if width == 256 else f".p/{width}"
        path = mirror / "tile" / "0" / f"{number:03}{suffix}"
        path.write_bytes(b"".join(map(leaf_hash, part)))
    report = check(mirror, earlier / "checkpoint")
    assert Fault.ROOT_MISMATCH in faults(report)
    assert (Fault.TILE_MISMATCH in faults(report)) == (at < 512)
    assert report.first_bad is not None
    assert report.first_bad.first <= at <= report.first_bad.last
    assert report.first_bad.last - report.first_bad.first < EARLIER


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("name", CHANGES)
def test_who_recomputes_every_tile_still_lacks_the_signature(
    tmp_path: Path, earlier: Path, name: str, at: int
) -> None:
    changed = CHANGES[name](list(ENTRIES), at)[:SIZE]
    changed += [make_entry(1_000_000)] * (SIZE - len(changed))
    mirror = tmp_path / "mirror"
    write_tiles(mirror, changed)
    (mirror / "checkpoint").write_text(checkpoint(ENTRIES, KEY))
    alone = check(mirror)
    assert Fault.ROOT_MISMATCH in faults(alone)
    report = check(mirror, earlier / "checkpoint")
    assert Fault.ROOT_MISMATCH in faults(report)
    span = Span(0, EARLIER - 1) if at < EARLIER else Span(EARLIER, SIZE - 1)
    assert span in {problem.entries for problem in report.problems}
    with_mirror = check(mirror, earlier)
    if at < EARLIER:
        assert with_mirror.first_bad == Span(at, at)
        assert Fault.FORKED not in faults(with_mirror)


@pytest.mark.parametrize("at", [place for place in PLACES if place < EARLIER])
@pytest.mark.parametrize("name", CHANGES)
def test_who_signs_again_has_forked_the_log(
    tmp_path: Path, earlier: Path, name: str, at: int
) -> None:
    changed = CHANGES[name](list(ENTRIES), at)
    mirror = write_mirror(tmp_path / "mirror", changed, KEY)
    foreign = name == "swap two tenants"
    alone = check(mirror)
    assert alone.good != foreign
    assert "forked" in alone.cannot_exclude[0]
    report = check(mirror, earlier / "checkpoint")
    assert Fault.FORKED in faults(report)
    assert Span(0, EARLIER - 1) in {problem.entries for problem in report.problems}
    with_mirror = check(mirror, earlier)
    assert Fault.FORKED in faults(with_mirror)
    assert with_mirror.first_bad == Span(at, at)


def test_what_was_replaced_after_the_earlier_checkpoint_cannot_be_told(
    tmp_path: Path, earlier: Path
) -> None:
    mirror = write_mirror(tmp_path / "mirror", flip(list(ENTRIES), 400), KEY)
    report = check(mirror, earlier / "checkpoint")
    assert report.good
    assert "another end of this one" in report.cannot_exclude[0]


def test_a_fork_of_the_same_size_is_named(tmp_path: Path, earlier: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror", flip(ENTRIES[:EARLIER], 123), KEY)
    assert faults(check(mirror, earlier / "checkpoint")) == {Fault.FORKED}
    assert check(mirror, earlier).first_bad == Span(123, 123)


def test_a_fork_of_the_same_size_is_named_though_its_files_are_wrong(
    tmp_path: Path, earlier: Path
) -> None:
    mirror = write_mirror(tmp_path / "mirror", ENTRIES[:EARLIER], KEY)
    (mirror / "checkpoint").write_text(checkpoint(flip(ENTRIES[:EARLIER], 1), KEY))
    report = check(mirror, earlier / "checkpoint")
    assert faults(report) == {Fault.ROOT_MISMATCH, Fault.FORKED}


@pytest.mark.parametrize("size", [0, 1, 255, 256, 299])
def test_a_cut_tail_is_named_by_who_signs_again_and_by_who_does_not(
    tmp_path: Path, earlier: Path, size: int
) -> None:
    mirror = write_mirror(tmp_path / "mirror", ENTRIES[:size], KEY)
    assert check(mirror).good
    assert "cut short" in check(mirror).cannot_exclude[0]
    for since in (earlier, earlier / "checkpoint"):
        report = check(mirror, since)
        assert faults(report) == {Fault.TAIL_CUT_OFF}
        assert report.first_bad == Span(size, EARLIER - 1)


def test_a_cut_tail_with_the_newest_checkpoint_is_named(mirror: Path, earlier: Path) -> None:
    path = mirror / "tile" / "entries" / "002.p" / "88"
    path.write_bytes(bundle(ENTRIES[512:590]))
    report = check(mirror, earlier / "checkpoint")
    assert faults(report) == {Fault.MALFORMED_ENTRIES}
    assert report.first_bad == Span(590, 599)
    path.unlink()
    report = check(mirror, earlier / "checkpoint")
    assert faults(report) == {Fault.MISSING_FILE}
    assert report.first_bad == Span(512, 599)


def test_a_cut_and_forked_log_is_named_as_both(tmp_path: Path, earlier: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror", flip(ENTRIES[:200], 77), KEY)
    report = check(mirror, earlier)
    assert faults(report) == {Fault.TAIL_CUT_OFF, Fault.FORKED}
    assert report.first_bad == Span(77, 77)


def test_an_old_checkpoint_over_newer_files_is_named(mirror: Path, earlier: Path) -> None:
    (mirror / "checkpoint").write_text(checkpoint(ENTRIES[:200], KEY))
    report = check(mirror, earlier / "checkpoint")
    assert faults(report) == {Fault.OLD_CHECKPOINT}
    assert report.first_bad == Span(200, 299)


@pytest.mark.parametrize(
    ("signer", "fault"),
    [
        (STRANGER, Fault.OTHER_KEY),
        (make_key(2, "undercroft.example/ledger/other"), Fault.OTHER_KEY),
    ],
)
def test_another_key_is_named(tmp_path: Path, earlier: Path, signer: LogKey, fault: Fault) -> None:
    mirror = write_mirror(tmp_path / "mirror", ENTRIES, signer)
    assert faults(check(mirror, earlier / "checkpoint")) == {fault}
    forked = write_mirror(tmp_path / "forked", flip(list(ENTRIES), 5), signer)
    report = check(forked, earlier)
    assert faults(report) == {fault, Fault.FORKED}
    assert report.first_bad == Span(5, 5)


def test_another_key_of_the_same_id_is_named(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror", ENTRIES, STRANGER)
    note = (mirror / "checkpoint").read_text()
    value = base64.b64decode(note.split(" ")[-1])
    forged = base64.b64encode(KEY.id + value[4:]).decode()
    (mirror / "checkpoint").write_text(note.replace(note.split(" ")[-1].strip(), forged))
    assert faults(check(mirror)) == {Fault.BAD_SIGNATURE}


def test_another_log_is_named_and_not_followed(tmp_path: Path) -> None:
    origin = f"undercroft.example/ledger/{OTHER_LOG}"
    entries = [make_entry(number, log=OTHER_LOG) for number in range(20)]
    mirror = write_mirror(tmp_path / "mirror", entries, make_key(2, origin), origin)
    assert faults(check(mirror)) == {Fault.OTHER_ORIGIN}
    # Our key under another log's text.
    mirror = write_mirror(tmp_path / "again", entries, KEY, origin)
    assert faults(check(mirror)) == {Fault.OTHER_ORIGIN}


@pytest.mark.parametrize(("old", "new"), [(b"600", b"599"), (b"\n\n", b"\nextension\n\n")])
def test_an_edited_checkpoint_is_named(mirror: Path, old: bytes, new: bytes) -> None:
    path = mirror / "checkpoint"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    assert Fault.BAD_SIGNATURE in faults(check(mirror))


@pytest.mark.parametrize("name", ["0/000", "0/002.p/88", "1/000.p/2"])
def test_an_altered_tile_is_told_from_altered_entries(mirror: Path, name: str) -> None:
    path = mirror / "tile" / name
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    report = check(mirror)
    assert faults(report) == {Fault.TILE_MISMATCH}
    assert report.first_bad is None
    assert report.problems[0].path is not None


@pytest.mark.parametrize("name", ["0/000", "0/002.p/88", "1/000.p/2"])
@pytest.mark.parametrize("action", ["delete", "cut", "lengthen"])
def test_a_missing_or_malformed_tile_is_named(mirror: Path, name: str, action: str) -> None:
    path = mirror / "tile" / name
    data = path.read_bytes()
    path.unlink()
    if action != "delete":
        path.write_bytes(data[:-1] if action == "cut" else data + bytes(32))
    expected = Fault.MISSING_FILE if action == "delete" else Fault.MALFORMED_TILE
    if action == "lengthen" and name == "0/000":
        expected = Fault.UNREADABLE_FILE
    report = check(mirror)
    assert faults(report) == {expected}
    assert report.problems[0].path == f"tile/{name}"


def test_what_is_found_before_a_gap_is_told(mirror: Path) -> None:
    rewrite_bundles(mirror, flip(list(ENTRIES), 3))
    for name in ("entries/001", "0/001"):
        (mirror / "tile" / name).unlink()
    report = check(mirror)
    assert {Fault.ENTRY_MISMATCH, Fault.MISSING_FILE} == faults(report)
    assert report.first_bad == Span(3, 3)


def test_a_bad_earlier_checkpoint_is_not_believed(mirror: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text(checkpoint(ENTRIES[:EARLIER], STRANGER))
    report = check(mirror, old)
    assert faults(report) == {Fault.OTHER_KEY}
    assert report.problems[0].message.startswith("of the earlier checkpoint: ")
    assert "cut short" in report.cannot_exclude[0]
    old.write_text(checkpoint(ENTRIES[:EARLIER], KEY).replace("300", "301"))
    assert faults(check(mirror, old)) == {Fault.BAD_SIGNATURE}
    old.unlink()
    assert faults(check(mirror, old)) == {Fault.MISSING_FILE}


def test_the_keys_of_a_rotation_are_both_believed(tmp_path: Path, earlier: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror", ENTRIES, STRANGER)
    keys = [parse_key(KEY.verifier), parse_key(STRANGER.verifier)]
    report = verify_path(mirror, keys, since=earlier / "checkpoint")
    assert report.good
    assert report.signed_by == f"{ORIGIN}+{STRANGER.id.hex()}"


def test_a_grown_mirror_still_fits_its_older_checkpoint(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror", ENTRIES, KEY)
    (mirror / "checkpoint").write_text(checkpoint(ENTRIES[:520], KEY))
    assert check(mirror).good
    shutil.rmtree(mirror)
    write_mirror(mirror, [*ENTRIES, *(make_entry(number) for number in range(600, 800))], KEY)
    (mirror / "checkpoint").write_text(checkpoint(ENTRIES, KEY))
    assert check(mirror).good


@pytest.mark.parametrize("more", [b"\x00", bundle([make_entry(SIZE)])])
@pytest.mark.parametrize("name", ["000", "002.p/88"])
def test_what_is_put_behind_the_last_entry_of_a_bundle_is_named(
    mirror: Path, name: str, more: bytes
) -> None:
    path = mirror / "tile" / "entries" / name
    path.write_bytes(path.read_bytes() + more)
    assert faults(check(mirror)) == {Fault.MALFORMED_ENTRIES}
