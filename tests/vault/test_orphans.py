"""What no content names goes, once it is old; what one names, or is about to name, stays."""

import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.conftest import MakeScope
from tests.documents import make_documents
from undercroft import vault
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.orphans import OrphanSweep


async def test_only_old_files_without_a_content_are_swept(
    database: Database, make_scope: MakeScope, tmp_path: Path
) -> None:
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())
    documents = make_documents(database, tmp_path, keys)
    folder = tmp_path / "blobs"
    scopes = [await make_scope() for _ in range(3)]
    for scope in scopes:
        for number in range(2):
            source = io.BytesIO(b"content %d" % number)
            await documents.import_file(scope, source, "a.txt", "user_data")
    named = {path for path in folder.rglob("*") if path.is_file()}
    orphans: dict[Path, timedelta] = {}
    for scope in [*scopes, await make_scope()]:
        for age in (timedelta(hours=23), timedelta(hours=25), timedelta(days=400)):
            name = os.urandom(32)
            path = folder / scope.tenant_id.hex / name[:1].hex() / name.hex()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"?")
            orphans[path] = age
    now = datetime.now(UTC)
    for path, age in {**dict.fromkeys(named, timedelta(days=2)), **orphans}.items():
        moment = (now - age).timestamp()
        os.utime(path, (moment, moment))
    sweep = OrphanSweep(database, LocalBlobStore(folder), SystemClock())
    assert await sweep.sweep() == 8
    recent = {path for path, age in orphans.items() if age < timedelta(days=1)}
    assert {path for path in folder.rglob("*") if path.is_file()} == named | recent
    assert await sweep.sweep() == 0


async def test_every_table_that_names_files_is_asked(database: Database) -> None:
    """Files that the statement ``list_stored_names`` does not know of would be deleted after a day."""
    async with database.transaction_without_scope() as transaction:
        rows = await transaction.fetch(
            "SELECT c.relname FROM pg_attribute AS a INNER JOIN pg_class AS c ON a.attrelid = c.oid "
            "WHERE a.attname = 'stored_name' AND c.relkind IN ('r', 'p')"
        )
    query = Path(vault.__file__).with_name("queries.sql").read_text(encoding="utf-8")
    statement = query.partition("-- name: list_stored_names")[2].partition("-- name:")[0]
    assert rows
    for row in rows:
        assert f"FROM {row['relname']} " in statement
