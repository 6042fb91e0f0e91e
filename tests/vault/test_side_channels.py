"""Whether colleagues keep a content does not show in what becomes of one's own: not by what is said, done or kept."""

import io
from pathlib import Path

from tests.conftest import MakeScope, Member, scope_maker
from tests.documents import make_documents
from tests.ledger.test_denials import OverheardDatabase
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.keys.service import KeyRing

TEXT = b"The monthly rent is due on the first day of each month."
OTHER = b"The yearly rent is due on the final day of each year. ."


async def test_a_content_that_a_colleague_has_is_taken_in_as_one_that_nobody_has(
    database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with OverheardDatabase(database_urls.service) as overheard:
        make_scope: MakeScope = scope_maker(overheard)
        ann = await make_scope()
        bob = await make_scope(ann.tenant_id)
        keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())
        documents = make_documents(overheard, tmp_path, keys)

        async def upload(scope: Member, content: bytes) -> tuple[list[str], int]:
            before = count_files(tmp_path)
            overheard.heard.clear()
            await documents.import_file(scope, io.BytesIO(content), "rent.txt", "user_data")
            return list(overheard.heard), count_files(tmp_path) - before

        await upload(ann, TEXT)
        await upload(bob, b"The first makes what each person's contents are looked up by.")
        assert len(TEXT) == len(OTHER)
        nobodys, anns = await upload(bob, OTHER), await upload(bob, TEXT)
        assert anns == nobodys
        assert anns[1] == 1
        # One's own is known again: that the difference can be heard.
        assert await upload(bob, TEXT) != anns


def count_files(folder: Path) -> int:
    """How many contents are kept."""
    return sum(path.is_file() for path in (folder / "blobs").rglob("*"))
