"""A receipt of fields of a record: what it shows, whether it still holds, and that nothing else is told."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest

from tests.conftest import MakeScope
from tests.owner import past_policies
from tests.records import ANY, changed
from tests.verification.conftest import Desk, reading
from undercroft.commands.verify import verify
from undercroft.kit.errors import NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.ledger.directory import LogDirectory
from undercroft.ledger.notes import sign_note
from undercroft.vault.records.errors import (
    FieldNotThereError,
    NoCommitmentError,
    OverlappingFieldsError,
)
from undercroft.vault.records.models import Record
from undercroft.vault.schemas.models import Definition
from undercroft.verification.errors import NoProofError
from undercroft.verification.models import ProofKind, Standing, Verdict

NOT_OURS = Verdict(ProofKind.RECORD_FIELDS)
FIELDS = ("/city", "/health/allergies")
Bundle = dict[str, Any]


async def issue(desk: Desk, record: Record, *fields: str, version: int | None = 1) -> Bundle:
    """What Ann is given."""
    data = await desk.record_receipts.get(desk.ann, record.id, version, fields or FIELDS)
    return cast("Bundle", json.loads(data))


async def judge(desk: Desk, bundle: Bundle) -> Verdict:
    """What is said of it, laid out in another way."""
    return await desk.verification.verify(json.dumps(bundle, indent=3).encode())


async def verify_offline(desk: Desk, folder: Path, data: bytes) -> tuple[bool, dict[str, Any]]:
    """What ``undercroft verify`` says with nothing but the log's key."""
    path = folder / "shown.json"
    path.write_bytes(data)
    await desk.log_keys.get(desk.ann.tenant_id)
    log = await LogDirectory(desk.database).find_of(desk.ann.tenant_id)
    assert log is not None
    key = log.verifier_keys[0]
    good, report = verify(path, [key], None, None, as_json=True)
    _, text = verify(path, [key], None, None, as_json=False)
    assert text.startswith("GOOD" if good else "BAD")
    return good, json.loads(report)


async def test_fields_that_are_there_are_vouched_for(desk: Desk, tmp_path: Path) -> None:
    record = await desk.records.ann(desk.ann)
    bundle = await issue(desk, record)
    # Before its entry has a number, and after.
    for _ in range(2):
        verdict = await judge(desk, bundle)
        assert verdict.status is Standing.UNCHANGED
        assert verdict.log == (await desk.log_keys.get(desk.ann.tenant_id)).origin
        alone = await desk.verification.verify(bundle["receipt"].encode())
        assert alone == verdict
        assert await issue(desk, record) == bundle
        await desk.sequencer.sequence(desk.ann.tenant_id)
    good, report = await verify_offline(desk, tmp_path, json.dumps(bundle).encode())
    assert (good, report["kind"]) == (True, "record_receipt")
    assert report["receipt"]["fields"] == {"/city": '"Ulm"', "/health/allergies": '["nuts"]'}
    good, report = await verify_offline(desk, tmp_path, bundle["receipt"].encode())
    assert good
    assert set(report["receipt"]["fields"].values()) == {None}


async def test_it_shows_nothing_of_other_fields_and_each_is_shown_by_itself(
    desk: Desk, tmp_path: Path
) -> None:
    record = await desk.records.ann(desk.ann)
    bundle = await issue(desk, record)
    header, *lines = bundle["receipt"].partition("\n\n")[0].split("\n")
    assert header == "undercroft-record-receipt@v1"
    assert [line.split(" ")[0] for line in lines] == [
        *("log", "record", "version", "time", "entry", "field", "field"),
    ]
    assert [line.split(" ")[2] for line in lines[-2:]] == ['"/city"', '"/health/allergies"']
    assert [(each["field"], each["value"]) for each in bundle["openings"]] == [
        ("/city", '"Ulm"'),
        ("/health/allergies", '["nuts"]'),
    ]
    assert set(bundle) == {"format", "openings", "receipt"}
    shown = {**bundle, "openings": bundle["openings"][:1]}
    assert "nuts" not in json.dumps(shown)
    assert (await judge(desk, shown)).status is Standing.UNCHANGED
    good, report = await verify_offline(desk, tmp_path, json.dumps(shown).encode())
    assert good
    assert report["receipt"]["fields"] == {"/city": '"Ulm"', "/health/allergies": None}


async def test_the_salt_of_a_field_opens_it_in_that_version_alone(desk: Desk) -> None:
    record = await desk.records.ann(desk.ann)
    await desk.records.records.update(desk.ann, record.id, ANY, changed(age=41))
    first, second = [(await issue(desk, record, version=version))["openings"] for version in (1, 2)]
    assert len({opening["salt"] for opening in (*first, *second)}) == 4
    (name,) = (await issue(desk, record, "/name"))["openings"]
    assert name["salt"] not in {opening["salt"] for opening in first}


async def test_a_value_that_is_not_the_one_is_refused(desk: Desk, tmp_path: Path) -> None:
    bundle = await issue(desk, await desk.records.ann(desk.ann))
    bundle["openings"][0]["value"] = '"Bonn"'
    with pytest.raises(NoProofError):
        await judge(desk, bundle)
    good, report = await verify_offline(desk, tmp_path, json.dumps(bundle).encode())
    assert not good
    assert report["problems"][0]["code"] == "opening_mismatch"


async def test_it_says_what_became_of_it(desk: Desk) -> None:
    record = await desk.records.ann(desk.ann)
    bundle = await issue(desk, record)
    await desk.records.records.update(desk.ann, record.id, ANY, changed(city="Bonn"))
    # It is of a version, and that is there as it was.
    assert (await judge(desk, bundle)).status is Standing.UNCHANGED
    await desk.sequencer.sequence(desk.ann.tenant_id)
    await desk.records.records.delete(desk.ann, record.id, ANY)
    assert (await judge(desk, bundle)).status is Standing.ERASED


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE record_versions SET created_at = created_at + interval '1 second'",
        "UPDATE record_versions SET schema_version = 2",
        "UPDATE record_parts SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)",
        "DELETE FROM record_parts WHERE number = 1",
        "DELETE FROM record_parts",
    ],
    ids=["time", "schema", "bytes", "one part", "all parts"],
)
async def test_what_was_altered_in_the_database_is_told(
    desk: Desk, database_urls: DatabaseUrls, change: str
) -> None:
    record = await desk.records.ann(desk.ann)
    schema = await desk.records.schemas.get(desk.ann, record.schema_id)
    await desk.records.schemas.add_version(desk.ann, schema.id, schema.definition, frozenset({1}))
    bundle = await issue(desk, record)
    await alter(database_urls, change)
    assert (await judge(desk, bundle)).status is Standing.CHANGED


async def alter(urls: DatabaseUrls, change: str) -> None:
    """As somebody who has the database."""
    tables = ("record_versions", "record_parts", "ledger_pending")
    async with past_policies(urls, *tables) as owner:
        assert not (await owner.execute(change)).endswith(" 0"), "nothing was altered"


async def test_what_was_sealed_again_with_the_right_keys_is_told_by_the_ledger(
    desk: Desk, database_urls: DatabaseUrls
) -> None:
    """Whoever has the keys can exchange the data, and make the log sign it; the ledger has what it was."""
    record = await desk.records.ann(desk.ann)
    await desk.records.records.update(desk.ann, record.id, ANY, changed(city="Bonn"))
    await desk.records.records.update(desk.ann, record.id, ANY, changed(city="Köln"))
    held = await issue(desk, record, version=3)
    await alter(
        database_urls,
        "UPDATE ledger_pending AS p SET leaf = q.leaf FROM ledger_pending AS q"
        " WHERE p.version = 3 AND q.version = 2 AND p.action = 'record.update'"
        " AND q.action = 'record.update'",
    )
    assert (await judge(desk, held)).status is Standing.CHANGED
    signed_now = await issue(desk, record, version=3)
    assert (await judge(desk, signed_now)).status is Standing.CHANGED


async def test_what_the_log_never_had_is_not_ours_though_its_key_signed_it(desk: Desk) -> None:
    record = await desk.records.ann(desk.ann)
    keys = await desk.log_keys.get(desk.ann.tenant_id)
    text = (await issue(desk, record))["receipt"].partition("\n\n")[0] + "\n"
    entry = text.partition("entry entry_")[2][:32]
    for before, after, status in (
        (record.id.hex, f"{7:032x}", None),
        ("version 1", "version 2", None),
        ("version 1", "version 9999999999", None),
        (entry, f"{7:032x}", None),
        ('"/city"', '"/name"', Standing.CHANGED),
        ('"/city"', '"/none"', Standing.CHANGED),
        (f"field {text.partition('field ')[2][:64]}", f"field {'0' * 64}", Standing.CHANGED),
    ):
        forged = text.replace(before, after)
        assert forged != text
        verdict = await desk.verification.verify(sign_note(forged, keys.signers).encode())
        assert verdict.status is status, after
        assert status is not None or verdict == NOT_OURS
    unsigned = (await issue(desk, record))["receipt"].replace('"/city"', '"/name"')
    assert await desk.verification.verify(unsigned.encode()) == NOT_OURS


async def test_only_what_may_be_read_is_told_in_a_receipt(
    desk: Desk, make_scope: MakeScope
) -> None:
    record = await desk.records.ann(desk.ann)
    bob, eve = await make_scope(desk.ann.tenant_id), await make_scope()
    for stranger in (bob, eve):
        with pytest.raises(NotFoundError):
            await desk.record_receipts.get(stranger, record.id, None, ["/city"])
    await desk.share(record, bob, reading(FIELDS))
    bundle = json.loads(await desk.record_receipts.get(bob, record.id, None, FIELDS))
    assert (await judge(desk, bundle)).status is Standing.UNCHANGED
    # What holds what he may see in part is not shown as if that were all of it; neither is it there for him.
    for field in ("/health", "/name", "/none", "/city/none"):
        with pytest.raises(FieldNotThereError):
            await desk.record_receipts.get(bob, record.id, None, [field])
    assert ("record.read", "allowed") in await desk.records.actions(desk.ann)
    with pytest.raises(NotFoundError):
        await desk.record_receipts.get(bob, record.id, 2, ["/city"])


@pytest.mark.parametrize("fields", [["/a", "/a"], ["/a", "/a/b"], ["/a/b", "/c", "/a"]])
async def test_a_field_is_not_in_another(desk: Desk, fields: list[str]) -> None:
    record = await desk.records.ann(desk.ann)
    with pytest.raises(OverlappingFieldsError):
        await desk.record_receipts.get(desk.ann, record.id, None, fields)


async def test_names_of_all_kinds_are_signed_in_one_spelling(desk: Desk, tmp_path: Path) -> None:
    schema = await desk.records.schemas.create(
        desk.ann, "anything", Definition(schema={"type": "object"})
    )
    names = ["line\nend", 'quote"', "\u2028", "name", "a~0b", "\x1f", "Ü", "\U0001f600", ""]
    data = {name.replace("~0", "~"): name for name in names}
    record = await desk.records.records.create(desk.ann, schema.id, data)
    bundle = await issue(desk, record, *(f"/{name}" for name in names))
    assert (await judge(desk, bundle)).status is Standing.UNCHANGED
    good, report = await verify_offline(desk, tmp_path, json.dumps(bundle).encode())
    assert good
    assert report["receipt"]["fields"] == {
        f"/{name}": json.dumps(name, ensure_ascii=False) for name in names
    }


async def test_without_an_entry_there_is_none(desk: Desk, database_urls: DatabaseUrls) -> None:
    record = await desk.records.ann(desk.ann)
    bundle = await issue(desk, record)
    await alter(database_urls, "DELETE FROM ledger_pending")
    with pytest.raises(NoCommitmentError):
        await issue(desk, record)
    assert await judge(desk, bundle) == NOT_OURS


_BROKEN: Final[Sequence[Callable[[Bundle], Bundle]]] = [
    lambda bundle: {**bundle, "format": "undercroft-record-fields@v2"},
    lambda bundle: {**bundle, "receipt": 7},
    lambda bundle: {**bundle, "receipt": "\u2028"},
    lambda bundle: {**bundle, "openings": {}},
    lambda bundle: {**bundle, "openings": [7]},
    lambda bundle: {**bundle, "openings": [{}]},
    lambda bundle: {**bundle, "openings": bundle["openings"] * 2},
    lambda bundle: {**bundle, "more": 1},
    lambda bundle: {**bundle, "openings": [{**bundle["openings"][0], "field": "/none"}]},
    lambda bundle: {**bundle, "openings": [{**bundle["openings"][0], "salt": "0"}]},
    lambda bundle: {**bundle, "openings": [{**bundle["openings"][0], "more": 1}]},
    lambda bundle: {**bundle, "receipt": bundle["receipt"].replace('"/city"', '"\\u002fcity"')},
    lambda bundle: {**bundle, "receipt": bundle["receipt"].replace('"/city"', '"city"')},
    lambda bundle: {**bundle, "receipt": bundle["receipt"].replace("field ", "fields ")},
    lambda bundle: {**bundle, "receipt": bundle["receipt"].replace("version 1", "version 01")},
    lambda bundle: {
        **bundle,
        "receipt": bundle["receipt"].replace("/health/allergies", "/city"),
    },
]


@pytest.mark.parametrize("break_it", _BROKEN, ids=map(str, range(len(_BROKEN))))
async def test_what_is_none_is_refused_with_a_reason(
    desk: Desk, tmp_path: Path, break_it: Callable[[Bundle], Bundle]
) -> None:
    bundle = break_it(await issue(desk, await desk.records.ann(desk.ann)))
    with pytest.raises(NoProofError) as refused:
        await judge(desk, bundle)
    assert len(refused.value.message) < 500
    good, _ = await verify_offline(desk, tmp_path, json.dumps(bundle).encode())
    assert not good
