"""An upload that still comes in is nothing that fsck complains of, and nothing that a backup holds half of."""

from pathlib import Path

import pytest

from tests.operations.conftest import TEXTS, Filled, House
from tests.vault.uploads.bench import make_bench
from undercroft.kit.errors import NotFoundError
from undercroft.kit.sql import AnyConnection
from undercroft.operations.examination.findings import Fault
from undercroft.vault.usage.models import Usage


async def test_a_damaged_name_of_an_upload_is_named(filled: Filled, owner: AnyConnection) -> None:
    house = filled.house
    bench = await make_bench(house.database, house.folder, provider=house.provider)
    upload, _ = await bench.begin(filled.ann, [b"The end."])
    assert (await house.fsck())[0] == []
    await owner.execute("UPDATE uploads SET sealed_name = sealed_name || '\\x00'")
    (finding,), _ = await house.fsck()
    assert finding.fault is Fault.VALUE_UNREADABLE
    assert finding.subject == f"name of uploads {upload.id.hex}"


async def test_parts_are_not_backed_up_and_what_is_kept_is_counted_again(
    filled: Filled, empty: House, tmp_path: Path
) -> None:
    house, ann = filled.house, filled.ann
    bench = await make_bench(house.database, house.folder, provider=house.provider)
    upload, ids = await bench.begin(ann, [b"The end."])
    completed = await bench.uploads.complete(ann, upload.id, ids)
    unfinished, _ = await bench.begin(ann, [b"The ice has ", b"gone."])
    found, _ = await house.fsck()
    assert found == []
    await house.back_up(tmp_path / "backup.tar")
    await empty.restore(tmp_path / "backup.tar")
    found, _ = await empty.fsck()
    assert found == []
    restored = await make_bench(empty.database, empty.folder, provider=empty.provider)
    kept = sum(map(len, TEXTS.values())) + len("The end.")
    assert await restored.usage.read(ann) == Usage(kept, kept)
    assert await restored.value(ann, "SELECT count(*) FROM upload_parts") == 0
    assert completed.document is not None
    assert await restored.read(ann, completed.document.id) == b"The end."
    # Whoever was in the middle begins again.
    for forgotten in (unfinished, completed):
        with pytest.raises(NotFoundError):
            await restored.uploads.complete(ann, forgotten.id, [])
