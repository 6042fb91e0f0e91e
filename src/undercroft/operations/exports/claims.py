"""What ties an exported file to the ledger's entry that commits to it."""

from asyncpg import Record

from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import derive_salt
from undercroft.ledger.models import ENTRY_PREFIX


def claim_of(row: Record, salt: bytes) -> dict[str, str]:
    """What the manifest's line of a version says of its entry; nothing where none with a number commits to it.

    Whether the file is what the entry commits to is not looked at: a version that was altered in the database is to be
    named by whoever verifies the export.
    """
    if row["entry_id"] is None:
        return {}
    return {
        "entry": render_id(ENTRY_PREFIX, row["entry_id"]),
        "salt": derive_salt(salt, row["entry_id"], "content").hex(),
    }
