"""A command that works on what is there refuses a folder in which nothing is, and makes nothing in it."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from undercroft.commands.backups import back_up
from undercroft.commands.encryption import destroy_tenant, rotate_provider
from undercroft.commands.export import export_tenant
from undercroft.commands.fsck import fsck
from undercroft.commands.jobs import list_dead_jobs
from undercroft.commands.keys import revoke_key
from undercroft.commands.ledger import rotate_signing_keys
from undercroft.commands.scrub import scrub
from undercroft.kit.settings import Settings
from undercroft.operations.errors import OperationError


def ignore(*_: object) -> None:
    """No progress is told."""


COMMANDS: dict[str, Callable[[Settings, Path], Coroutine[Any, Any, object]]] = {
    "backup": lambda settings, to: back_up(settings, to, ignore),
    "export": lambda settings, to: export_tenant(settings, "acme", to, ignore),
    "fsck": lambda settings, _: fsck(settings, ignore, ignore, as_json=False, repair=False),
    "scrub": lambda settings, _: scrub(settings, ignore),
    "keys revoke": lambda settings, _: revoke_key(settings, "acme", "uk_ab12cd34"),
    "jobs dead": lambda settings, _: list_dead_jobs(settings, 10),
    "ledger rotate-key": lambda settings, _: rotate_signing_keys(settings, None),
    "encryption rotate-provider": lambda settings, _: rotate_provider(settings, ignore),
    "encryption destroy-tenant": lambda settings, _: destroy_tenant(settings, "acme", ignore),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_mistyped_data_folder_is_no_empty_service(tmp_path: Path, command: str) -> None:
    settings = Settings(data_dir=tmp_path / "mistyped")
    with pytest.raises(OperationError, match=r"no database in the data folder .*/mistyped\."):
        await COMMANDS[command](settings, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []
