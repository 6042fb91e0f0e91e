"""``undercroft verify``: a log, an export, one proof or one receipt, offline, with nothing but the public key."""

from collections.abc import Sequence
from pathlib import Path

from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.verify import verify_path


def verify(
    path: Path,
    keys: Sequence[str],
    since: Path | None,
    entry: Path | None,
    content: Path | None = None,
    *,
    as_json: bool,
) -> tuple[bool, str]:
    """Verify what is at a path; whether it is good, and the report.

    Args:
        path: A mirrored log, a bundle, a proof or a receipt.
        keys: Verifier keys, as ``GET /v1/ledger`` gives them.
        since: An earlier checkpoint, or the folder of an earlier mirror.
        entry: The entry that a proof is of.
        content: The file that a receipt is of.
        as_json: Whether the report is JSON, not text.

    Raises:
        KeyFormatError: When a key is malformed.
        VerificationUsageError: When the arguments do not fit what is at the path.
        OSError: When it cannot be read.
    """
    parsed = [parse_key(key) for key in keys]
    report = verify_path(path, parsed, since=since, entry=entry, content=content)
    return report.good, report.to_json() if as_json else report.to_text()
