"""Receipts are signed by the keys that the log has now, whatever process rotated them."""

import io
from pathlib import Path

from tests.conftest import MakeScope
from tests.documents import make_documents, make_versions
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.notes import verifier_key
from undercroft.ledger.rotation import SigningKeyRotation
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.receipts import check_receipt, parse_receipt
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.receipts import Receipts


async def test_a_receipt_is_signed_by_the_newest_key(
    database: Database, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    provider = await KeyFile.open(tmp_path / "provider.key")
    documents = make_documents(database, tmp_path, KeyRing(provider, IdSource()))
    document = await documents.import_file(ann, io.BytesIO(b"The mill."), "mill.txt", "user_data")
    receipts = Receipts(make_versions(documents), LogKeys(database, provider, "test"))
    before = await receipts.get(ann, document.id, 1)
    other = LogKeys(database, provider, "test")
    rotation = SigningKeyRotation(database, other, documents._ledger)
    # Twice: the first key signs no more.
    await rotation.rotate(ann.tenant_id)
    newest = (await rotation.rotate(ann.tenant_id)).signers[0]
    key = parse_key(verifier_key(newest.name, newest.public_key))
    receipt = parse_receipt((await receipts.get(ann, document.id, 1)).encode())
    assert check_receipt(receipt, [key]) == key
    assert receipt.note.text.encode() in before.encode()
